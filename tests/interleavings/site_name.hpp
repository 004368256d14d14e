// site_name: names for accesses that stay when lines are added above them, and are the same for both compilers.
#pragma once

#include <string>
#include <string_view>

#include "model.hpp"

namespace interleavings {

constexpr const char* name_of(order how) {
    switch (how) {
        case order::relaxed:
            return "relaxed";
        case order::acquire:
            return "acquire";
        case order::release:
            return "release";
        case order::acq_rel:
            return "acq_rel";
        case order::seq_cst:
            return "seq_cst";
        default:
            return "consume";
    }
}

/// "run_queue::push" of "bool runnel::detail::run_queue::push(runnel::detail::task_block&)".
inline std::string short_function(std::string_view all) {
    // The parameters begin at the bracket that the last one closes: a name may have brackets of its own.
    std::size_t end = all.rfind(')');
    if (end == all.npos) return std::string(all);
    for (unsigned depth = 0;; --end) {
        depth += all[end] == ')';
        if (all[end] == '(' && --depth == 0) break;
        if (end == 0) break;
    }
    const std::string_view name = all.substr(0, end);
    std::size_t from = name.rfind("::");
    from = from == name.npos ? 0 : name.rfind("::", from - 1);
    const std::size_t space = name.rfind(' ');
    std::size_t begin = from == name.npos || from == 0 ? 0 : from + 2;
    if (space != name.npos && space + 1 > begin) begin = space + 1;
    return std::string(name.substr(begin));
}

/// Without the number that sets it apart from its like in the same function.
inline std::string name_of(const site& at, const char* function) {
    constexpr const char* kinds[] = {"load", "store", "change"};
    return short_function(function) + (at.which == side::failure ? " failed" : "") + " " +
           kinds[static_cast<int>(at.does)] + " " + name_of(at.strength);
}
}
