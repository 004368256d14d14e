// cpu_budget: reads the affinity mask and the files of both versions of cgroups. See cpu_budget.hpp.
#include "cpu_budget.hpp"

#include <sched.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <sstream>
#include <string_view>
#include <vector>

namespace runnel::detail {

namespace {

constexpr double unlimited = std::numeric_limits<double>::infinity();

enum class version { v1, v2 };

/// A cgroup that the process is in.
struct membership {
    version kind;
    std::string path;
};

/// A mounted hierarchy: `part` of it is to be seen at `point`.
struct hierarchy {
    version kind;
    std::string part;
    std::string point;
};

std::vector<std::string> split(const std::string& text, char separator) {
    std::vector<std::string> parts;
    std::istringstream stream(text);
    for (std::string part; std::getline(stream, part, separator);) parts.push_back(part);
    return parts;
}

bool has_cpu(const std::string& comma_list) {
    const std::vector<std::string> names = split(comma_list, ',');
    return std::find(names.begin(), names.end(), "cpu") != names.end();
}

/// Step 1. A line is id:controllers:path, and the path may contain colons.
std::vector<membership> memberships(const std::string& root) {
    std::vector<membership> found;
    std::ifstream file(root + "/proc/self/cgroup");
    for (std::string line; std::getline(file, line);) {
        const std::size_t first = line.find(':');
        const std::size_t second = first == std::string::npos ? first : line.find(':', first + 1);
        if (second == std::string::npos) continue;
        const std::string controllers = line.substr(first + 1, second - first - 1);
        if (controllers.empty())
            found.push_back({version::v2, line.substr(second + 1)});
        else if (has_cpu(controllers))
            found.push_back({version::v1, line.substr(second + 1)});
    }
    return found;
}

/// mountinfo writes a blank as \040, and so on.
std::string unescape(std::string_view text) {
    std::string plain;
    while (!text.empty()) {
        std::size_t used = 1;
        char next = text.front();
        if (next == '\\' && text.size() >= 4) {
            next = static_cast<char>(std::strtol(std::string(text.substr(1, 3)).c_str(), nullptr, 8));
            used = 4;
        }
        plain += next;
        text.remove_prefix(used);
    }
    return plain;
}

/// Step 2. A line is: id parent device part point options [optional...] - type source options.
std::vector<hierarchy> hierarchies(const std::string& root) {
    std::vector<hierarchy> found;
    std::ifstream file(root + "/proc/self/mountinfo");
    for (std::string line; std::getline(file, line);) {
        const std::vector<std::string> fields = split(line, ' ');
        const auto dash = std::find(fields.begin(), fields.end(), "-");
        if (dash - fields.begin() < 6 || fields.end() - dash < 4) continue;
        const bool v2 = dash[1] == "cgroup2";
        if (v2 || (dash[1] == "cgroup" && has_cpu(dash[3])))
            found.push_back({v2 ? version::v2 : version::v1, unescape(fields[3]), unescape(fields[4])});
    }
    return found;
}

/// The cgroup's path below the mount point: "" or "/a/b". A cgroup outside the mounted part (inside a
/// container the names often do not fit together) is taken to be the mounted part itself.
std::string below(const hierarchy& mounted, const std::string& path) {
    const std::string part = mounted.part == "/" ? "" : mounted.part;
    const bool inside = path.compare(0, part.size(), part) == 0 &&
                        (path.size() == part.size() || path[part.size()] == '/') &&
                        path.find("/..") == std::string::npos;
    std::string rest = inside ? path.substr(part.size()) : "";
    while (!rest.empty() && rest.back() == '/') rest.pop_back();
    return rest;
}

std::string first_word(std::istream& stream) {
    std::string word;
    stream >> word;
    return word;
}

/// The positive number that the whole word is, or 0.
double positive(const std::string& word) {
    char* end = nullptr;
    const double number = std::strtod(word.c_str(), &end);
    const bool whole_word = end != word.c_str() && *end == '\0';
    return whole_word && std::isfinite(number) && number > 0 ? number : 0;
}

/// What one folder allows. Absent, "max", -1 and nonsense allow everything.
double limit_of(const std::string& folder, version kind) {
    std::string quota, period;
    if (kind == version::v2) {
        std::ifstream both(folder + "/cpu.max");
        quota = first_word(both);
        period = first_word(both);
    } else {
        std::ifstream quota_file(folder + "/cpu.cfs_quota_us"), period_file(folder + "/cpu.cfs_period_us");
        quota = first_word(quota_file);
        period = first_word(period_file);
    }
    const double used = positive(quota), of = positive(period);
    return used > 0 && of > 0 ? used / of : unlimited;
}

/// Step 3: the cgroup and all above it, up to the mount point.
double limit_of_all(const std::string& root, const hierarchy& mounted, std::string path) {
    double least = unlimited;
    for (;;) {
        least = std::min(least, limit_of(root + mounted.point + path, mounted.kind));
        if (path.empty()) return least;
        path.resize(path.rfind('/'));
    }
}
}

unsigned allowed_cpus() noexcept {
    // The set must be as large as the kernel's own, which is not to be asked: grow until it fits.
    for (int cpus = 1024; cpus <= 1 << 20; cpus *= 2) {
        cpu_set_t* const set = CPU_ALLOC(static_cast<std::size_t>(cpus));
        if (set == nullptr) break;
        const std::size_t bytes = CPU_ALLOC_SIZE(static_cast<std::size_t>(cpus));
        const bool fits = sched_getaffinity(0, bytes, set) == 0;
        const int count = fits ? CPU_COUNT_S(bytes, set) : 0;
        CPU_FREE(set);
        if (fits) return static_cast<unsigned>(std::max(count, 1));
    }
    return 1;
}

double cpu_quota(const std::string& root) {
    double least = unlimited;
    const std::vector<hierarchy> mounted = hierarchies(root);
    for (const membership& member : memberships(root))
        for (const hierarchy& where : mounted)
            if (where.kind == member.kind)
                least = std::min(least, limit_of_all(root, where, below(where, member.path)));
    return least;
}

unsigned usable_cpus(const std::string& root) {
    const double cpus = std::min<double>(allowed_cpus(), std::ceil(cpu_quota(root)));
    return static_cast<unsigned>(std::max(cpus, 1.0));
}
}
