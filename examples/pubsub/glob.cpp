#include "glob.hpp"

#include <algorithm>

namespace pubsub {
namespace {

/// Is `c` in the class? `rest` begins after the opening bracket and moves past the closing one.
bool in_class(std::string_view& rest, char c) {
    const bool inverted = rest.starts_with('^');
    if (inverted) rest.remove_prefix(1);
    bool found = false;
    while (!rest.empty() && rest.front() != ']') {
        if (rest.size() >= 2 && rest[0] == '\\') {
            found |= rest[1] == c;
            rest.remove_prefix(2);
        } else if (rest.size() >= 3 && rest[1] == '-') {
            const auto [low, high] = std::minmax({rest[0], rest[2]});
            found |= low <= c && c <= high;
            rest.remove_prefix(3);
        } else {
            found |= rest[0] == c;
            rest.remove_prefix(1);
        }
    }
    if (!rest.empty()) rest.remove_prefix(1);
    return found != inverted;
}

/// Does the pattern's first element, which is not *, match this byte? `rest` moves past the element.
bool matches_one(std::string_view& rest, char c) {
    const char element = rest.front();
    rest.remove_prefix(1);
    if (element == '?') return true;
    if (element == '[') return in_class(rest, c);
    if (element != '\\' || rest.empty()) return element == c;
    const char escaped = rest.front();
    rest.remove_prefix(1);
    return escaped == c;
}
}

bool glob_matches(std::string_view pattern, std::string_view name) {
    if (name.empty()) return pattern.empty();
    bool has_star = false;
    std::string_view after_star, star_name;  // what follows the latest *, and the bytes that it has not taken
    while (!name.empty()) {
        if (pattern.starts_with('*')) {
            pattern.remove_prefix(1);
            has_star = true;
            after_star = pattern;
            star_name = name;
        } else if (!pattern.empty() && matches_one(pattern, name.front())) {
            name.remove_prefix(1);
        } else if (has_star) {
            star_name.remove_prefix(1);
            pattern = after_star;
            name = star_name;
        } else {
            return false;
        }
    }
    return pattern.find_first_not_of('*') == std::string_view::npos;
}
}
