// Names and what they lead to; see simulated_files.hpp.
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "simulated_files.hpp"

namespace runnel::detail {

namespace {
constexpr unsigned links_max = 40;  // that are followed on one way, as on Linux
constexpr std::size_t name_max = 255;

bool is_directory(const simulated_node& node) noexcept { return S_ISDIR(node.mode); }
bool is_link(const simulated_node& node) noexcept { return S_ISLNK(node.mode); }
}

// --- Finding ---------------------------------------------------------------------------------------

simulated_files::place simulated_files::find(std::string_view path, bool follow_last) {
    place at;
    unsigned links_left = links_max;
    std::vector<node> way{root_};
    if (path.empty())
        at.error = ENOENT;
    else
        find_from(way, path, follow_last, links_left, at);
    return at;
}

/// `way`: the directories from the root to where the path begins, and then to where it leads. False: at.error says why
/// not. A name that does not exist is an error only if another follows.
bool simulated_files::find_from(std::vector<node>& way, std::string_view path, bool follow_last,
                                unsigned& links_left, place& at) {
    const auto fail = [&at](int error) { return at.error = error, false; };
    if (path.front() == '/') way.resize(1);
    at.directory = at.found = way.back();
    at.name.clear();
    while (!path.empty()) {
        const std::size_t slash = std::min(path.find('/'), path.size());
        const std::string_view name = path.substr(0, slash);
        const bool is_last = slash == path.size();  // and no slash after it
        path.remove_prefix(is_last ? slash : slash + 1);
        if (name.empty()) continue;
        if (at.found == nullptr) return fail(ENOENT);
        if (!is_directory(*at.found)) return fail(ENOTDIR);
        if (name.size() > name_max) return fail(ENAMETOOLONG);
        if (name == ".") continue;
        if (name == "..") {
            if (way.size() > 1) way.pop_back();
            at.directory = at.found = way.back();
            at.name.clear();
            continue;
        }
        at.directory = way.back();
        at.name = name;
        const auto entry = at.directory->entries.find(name);
        at.found = entry != at.directory->entries.end() ? entry->second : nullptr;
        if (at.found == nullptr) continue;
        if (is_link(*at.found) && (!is_last || follow_last)) {
            if (links_left-- == 0) return fail(ELOOP);
            const std::string text = at.found->content;
            if (!find_from(way, text, true, links_left, at)) return false;
        } else if (is_directory(*at.found)) {
            way.push_back(at.found);
        }
    }
    return true;
}

void simulated_files::name(simulated_node& directory, const std::string& as, const node& what) {
    directory.entries[as] = what;
    directory.changed = by_.now();
    ++what->links;
}

void simulated_files::unname(simulated_node& directory, const std::string& what) {
    const auto entry = directory.entries.find(what);
    --entry->second->links;
    directory.entries.erase(entry);
    directory.changed = by_.now();
}

// --- Calls -----------------------------------------------------------------------------------------

long simulated_files::on_path(const file_action& what) {
    switch (what.kind) {
        case file_kind::open:
            return open(what);
        case file_kind::status:
            return status_of_path(what);
        case file_kind::make_directory:
            return make_directory(what);
        case file_kind::rename:
            return rename(what);
        case file_kind::remove:
            return remove(what);
        case file_kind::link:
            return link(what);
        case file_kind::symbolic_link:
            return symbolic_link(what);
        case file_kind::read_link:
            return read_link(what);
        default:
            return -EINVAL;
    }
}

long simulated_files::open(const file_action& what) {
    const unsigned flags = what.flags;
    const bool writes = (flags & O_ACCMODE) != O_RDONLY;
    const bool exclusive = (flags & O_CREAT) != 0 && (flags & O_EXCL) != 0;
    place at = find(what.path, (flags & O_NOFOLLOW) == 0 && !exclusive);
    if (at.error != 0) return -at.error;
    if ((flags & O_TMPFILE) == O_TMPFILE) {
        if (at.found == nullptr) return -ENOENT;
        return is_directory(*at.found) ? give_number(make(S_IFREG | what.mode), flags) : -ENOTDIR;
    }
    if (at.found == nullptr) {
        if ((flags & O_CREAT) == 0) return -ENOENT;
        if (std::string_view(what.path).back() == '/') return -EISDIR;
        const node made = make(S_IFREG | what.mode);
        const long number = give_number(made, flags);
        if (number >= 0) name(*at.directory, at.name, made);
        return number;
    }
    if (exclusive) return -EEXIST;
    if (is_link(*at.found)) return -ELOOP;
    if (is_directory(*at.found) && (writes || (flags & O_CREAT) != 0)) return -EISDIR;
    if (!is_directory(*at.found) && std::string_view(what.path).back() == '/') return -ENOTDIR;
    const long number = give_number(at.found, flags);
    if (number >= 0 && (flags & O_TRUNC) != 0) resize(*at.found, 0);
    return number;
}

long simulated_files::status_of_path(const file_action& what) {
    const place at = find(what.path, (what.flags & AT_SYMLINK_NOFOLLOW) == 0);
    if (at.error != 0) return -at.error;
    return at.found != nullptr ? status(*at.found, what) : -ENOENT;
}

long simulated_files::make_directory(const file_action& what) {
    const place at = find(what.path, false);
    if (at.error != 0) return -at.error;
    if (at.found != nullptr) return -EEXIST;
    name(*at.directory, at.name, make(S_IFDIR | what.mode));
    return 0;
}

long simulated_files::rename(const file_action& what) {
    const place from = find(what.path, false);
    const place to = find(what.second_path, false);
    if (from.error != 0 || to.error != 0) return -(from.error != 0 ? from.error : to.error);
    if (from.found == nullptr) return -ENOENT;
    if (from.name.empty() || to.name.empty()) return -EBUSY;
    if (from.found == to.found) return 0;
    if (is_directory(*from.found)) {
        // Not into itself.
        for (std::string way = what.second_path; way.rfind('/') != way.npos;) {
            way.resize(way.rfind('/'));
            if (!way.empty() && find(way, true).found == from.found) return -EINVAL;
        }
    }
    if (to.found != nullptr) {
        if (is_directory(*to.found) && !is_directory(*from.found)) return -EISDIR;
        if (!is_directory(*to.found) && is_directory(*from.found)) return -ENOTDIR;
        if (!to.found->entries.empty()) return -ENOTEMPTY;
        unname(*to.directory, to.name);
    }
    name(*to.directory, to.name, from.found);
    unname(*from.directory, from.name);
    return 0;
}

long simulated_files::remove(const file_action& what) {
    const place at = find(what.path, false);
    if (at.error != 0) return -at.error;
    if (at.found == nullptr) return -ENOENT;
    const bool directory_meant = (what.flags & AT_REMOVEDIR) != 0;
    if (directory_meant && !is_directory(*at.found)) return -ENOTDIR;
    if (!directory_meant && is_directory(*at.found)) return -EISDIR;
    if (at.name.empty()) return -EBUSY;
    if (!at.found->entries.empty()) return -ENOTEMPTY;
    unname(*at.directory, at.name);
    return 0;
}

long simulated_files::link(const file_action& what) {
    const place from = find(what.path, false);
    const place to = find(what.second_path, false);
    if (from.error != 0 || to.error != 0) return -(from.error != 0 ? from.error : to.error);
    if (from.found == nullptr) return -ENOENT;
    if (to.found != nullptr) return -EEXIST;
    if (is_directory(*from.found)) return -EPERM;
    name(*to.directory, to.name, from.found);
    return 0;
}

long simulated_files::symbolic_link(const file_action& what) {
    if (*what.path == '\0') return -ENOENT;
    const place at = find(what.second_path, false);
    if (at.error != 0) return -at.error;
    if (at.found != nullptr) return -EEXIST;
    const node made = make(S_IFLNK | 0777);
    if (const long status = resize(*made, std::strlen(what.path)); status < 0) return status;
    made->content = made->synced_content = what.path;
    name(*at.directory, at.name, made);
    return 0;
}

long simulated_files::read_link(const file_action& what) {
    const place at = find(what.path, false);
    if (at.error != 0) return -at.error;
    if (at.found == nullptr) return -ENOENT;
    if (!is_link(*at.found)) return -EINVAL;
    const std::size_t bytes = std::min(at.found->content.size(), what.left.bytes);
    std::memcpy(what.left.data, at.found->content.data(), bytes);
    return static_cast<long>(bytes);
}
}
