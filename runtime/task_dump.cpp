// See task_dump.hpp, whose steps and invariants are named here.
#include "task_dump.hpp"

#include <algorithm>
#include <cstdio>
#include <map>
#include <string_view>

#include <runnel/dump.hpp>
#include <runnel/label.hpp>
#include <runnel/task.hpp>
#include "context_node.hpp"
#include "runtime_core.hpp"
#include "task_life.hpp"
#include "task_names.hpp"
#include "task_slab.hpp"

namespace runnel::detail {

bool is_live(const task_block& task, const runtime_core& core) noexcept {
    // relaxed: see its declaration.
    return task.runtime.load(std::memory_order_relaxed) == &core && task.kind != task_kind::free &&
           !task.ended;
}

bool hold(task_block& task) noexcept {
    using namespace word_bits;
    // relaxed: a guess; the CAS decides.
    std::uint64_t word = task.word.load(std::memory_order_relaxed);
    for (;;) {
        const std::uint64_t state = word & state_mask;
        if ((state != armed && state != armed_io) || (word & held) != 0) return false;
        // acq_rel: acquire pairs with the arming, so that the frames are seen; release: whoever claims it
        // after we have let go comes after our reading. relaxed on failure: tried again.
        if (task.word.compare_exchange_weak(word, word | held, std::memory_order_acq_rel,
                                            std::memory_order_relaxed))
            return true;
    }
}

bool let_go(task_block& task) noexcept {
    // acq_rel: pairs with the fetch_or in finish(); the second of the two puts it into a queue.
    const std::uint64_t word = task.word.fetch_and(~word_bits::held, std::memory_order_acq_rel);
    const bool woken = (word & word_bits::done) != 0;
    if (woken) schedule(task);
    return woken;
}

namespace {
constexpr std::size_t frames_max = 32;  // E1
constexpr std::size_t ids_shown = 8;
constexpr std::size_t waits_shown = 8;

void read_chain(const task_block& task, task_record& into) {
    for (std::coroutine_handle<> frame = task.leaf; frame;) {
        if (into.chain.size() == frames_max) {
            into.chain_cut = true;
            return;
        }
        const promise_base& promise = promise_of(frame);
        into.chain.push_back(promise.await_at);
        frame = promise.continuation;
    }
}

void read_waits(const task_block& task, task_record& into) {
    wait_case* cases[cases_max];
    const std::size_t count = waits_of(task, cases, cases_max);
    for (std::size_t i = 0; i < count && i < waits_shown; ++i) {
        wait_shown shown{cases[i]->subject(), nullptr, {}};
        if (shown.is.of != nullptr) {
            shown.label = shown.is.of->label();
            shown.made_at = shown.is.of->made_at();
        }
        into.waits.push_back(shown);
    }
    if (count > waits_shown) into.more_waits = count - waits_shown;
}

const char* name_of(kernel_wait what) noexcept {
    constexpr const char* names[] = {"for something", "to connect",        "to receive",
                                     "to send",       "until it can read", "for a file system"};
    return names[static_cast<std::size_t>(what)];
}

void read_request(const task_block& task, task_record& into) {
    // relaxed: hold() acquired.
    const auto* request = static_cast<const io_request*>(task.waits_at.load(std::memory_order_relaxed));
    const kernel_wait what = request->what;
    const int fd = request->fd;
    // acquire: the request may be another's once the operation has completed; then its word says so.
    const std::uint64_t word = task.word.load(std::memory_order_acquire);
    if ((word & word_bits::state_mask) != word_bits::armed_io) return;
    into.waits.push_back({{name_of(what)}, nullptr, {}});
    into.fd = fd;
}

/// Step 2, of a task that is held.
void read_held(const task_block& task, nanoseconds_t now, task_record& into) {
    const std::uint64_t word = task.word.load(std::memory_order_relaxed);  // relaxed: hold() acquired
    into.state =
        (word & word_bits::state_mask) == word_bits::armed_io ? task_state::in_kernel : task_state::waits;
    into.since = task.waits_since.before(now);
    if (task.kind == task_kind::thread) {
        into.state = task_state::thread;
        read_waits(task, into);
        return;
    }
    read_chain(task, into);
    if (into.state == task_state::in_kernel)
        read_request(task, into);
    else
        read_waits(task, into);
    const context_node& ctx = *task.ctx.load(std::memory_order_relaxed);  // relaxed: hold() acquired
    into.cancelled = ctx.cancelled.load(std::memory_order_relaxed);       // relaxed: a figure for people
    into.deadline = ctx.deadline;
}

/// A plain thread that waits for what tasks of any runtime may do is shown by all of them.
bool is_shown(const task_block& task, const runtime_core& core) noexcept {
    // relaxed: as in is_live().
    const bool of_none = task.runtime.load(std::memory_order_relaxed) == nullptr;
    return of_none ? task.kind == task_kind::thread : is_live(task, core);
}

/// False: no task of this runtime.
bool read_task(task_block& task, const runtime_core& core, nanoseconds_t now, task_record& into) {
    if (!is_shown(task, core)) return false;
    into.chain.reserve(frames_max);  // nothing may throw while it is held
    into.waits.reserve(waits_shown);
    const bool held = hold(task);
    const bool counts = is_shown(task, core);
    if (counts) {
        const task_number number = task.id;
        into.id = number;
        into.name = name_at(number.name());
        into.spawned_at = task.spawned_at;
        if (held) read_held(task, now, into);
    }
    if (held) let_go(task);
    return counts;
}

// --- Step 4 ----------------------------------------------------------------------------------------

/// Orders records by everything that makes tasks alike.
std::string likeness(const task_record& task) {
    std::string key;
    const auto add = [&key](const std::source_location& where) {
        key += where.file_name();
        key += ':';
        key += std::to_string(where.line());
        key += '\n';
    };
    key += static_cast<char>(task.state);
    key += task.name != nullptr ? task.name : "";
    key += task.cancelled ? 'c' : '-';
    add(task.spawned_at);
    for (const std::source_location& each : task.chain) add(each);
    for (const wait_shown& each : task.waits) {
        key += each.is.what + std::to_string(each.is.task);
        key += each.label != nullptr ? each.label : "";
        add(each.made_at);
    }
    return key;
}

void add_to(task_group& group, task_record&& task) {
    if (group.ids.size() < ids_shown) group.ids.push_back(task.id);
    ++group.count;
    if (group.count == 1) {
        group.newest_since = task.since;
        group.oldest = std::move(task);
        return;
    }
    group.newest_since = std::max(group.newest_since, task.since);
    if (task.since < group.oldest.since) group.oldest = std::move(task);
}
}

task_dump dump(const runtime_core& core, const std::set<std::uint64_t>* only) {
    std::vector<wait_edge> edges;
    const nanoseconds_t now = core.drivers->now();
    std::map<std::string, task_group> alike;
    for_each_block([&](task_block& block) {
        task_record task;
        if (!read_task(block, core, now, task) || (only != nullptr && !only->contains(task.id))) return;
        if (task.waits.size() == 1 && task.more_waits == 0 && task.waits[0].is.task != 0)
            edges.push_back({task.id, task.waits[0].is.task, task.waits[0].is.what});
        const std::string key = likeness(task);
        add_to(alike[key], std::move(task));
    });
    std::vector<task_group> groups;
    for (auto& [key, group] : alike) groups.push_back(std::move(group));
    const auto waits = [](const task_group& g) { return g.oldest.state != task_state::runs; };
    std::sort(groups.begin(), groups.end(), [&](const task_group& a, const task_group& b) {
        if (waits(a) != waits(b)) return waits(a);
        return a.oldest.since != b.oldest.since ? a.oldest.since < b.oldest.since : a.oldest.id < b.oldest.id;
    });
    for (task_group& group : groups) std::sort(group.ids.begin(), group.ids.end());
    return {std::move(groups), std::move(edges)};
}

std::vector<wait_edge> find_cycle(const std::vector<wait_edge>& edges) {
    std::map<std::uint64_t, wait_edge> next;
    for (const wait_edge& each : edges) next.insert({each.from, each});
    std::map<std::uint64_t, std::uint64_t> seen_from;  // a task, and the start of the walk that came by
    for (const auto& [start, edge] : next) {
        std::uint64_t at = start;
        while (next.contains(at) && seen_from.insert({at, start}).second) at = next.at(at).to;
        if (!next.contains(at) || seen_from.at(at) != start) continue;
        std::vector<wait_edge> cycle{next.at(at)};  // the walk has met itself
        while (cycle.back().to != at) cycle.push_back(next.at(cycle.back().to));
        const auto lowest =
            std::min_element(cycle.begin(), cycle.end(),
                             [](const wait_edge& a, const wait_edge& b) { return a.from < b.from; });
        std::rotate(cycle.begin(), lowest, cycle.end());
        return cycle;
    }
    return {};
}

// --- The text --------------------------------------------------------------------------------------

std::string place(const std::source_location& where) {
    const std::string_view path = where.file_name();
    return std::string(path.substr(path.rfind('/') + 1)) + ":" + std::to_string(where.line());
}

bool is_ours(const std::source_location& where) noexcept {
    const std::string_view path = where.file_name(), function = where.function_name();
    const std::string_view folder = path.substr(0, path.rfind('/') + 1);  // +1: none without a folder
    return folder.ends_with("include/runnel/") || folder.ends_with("include/runnel/detail/") ||
           function.substr(0, function.find('(')).find("runnel::detail::") != std::string_view::npos;
}

namespace {
std::string as_time(nanoseconds_t time) {
    char text[48];
    const double seconds = time > 0 ? static_cast<double>(time) / 1e9 : 0;
    if (seconds < 1)
        std::snprintf(text, sizeof text, "%.0f ms", seconds * 1e3);
    else if (seconds < 120)
        std::snprintf(text, sizeof text, "%.1f s", seconds);
    else if (seconds < 7200)
        std::snprintf(text, sizeof text, "%.0f min", seconds / 60);
    else
        std::snprintf(text, sizeof text, "%.1f h", seconds / 3600);
    return text;
}

/// The name of a coroutine, out of what the compilers give: a whole signature (clang), or that of the function
/// that g++ makes of its body, with the frame as its argument.
std::string function_of(const std::source_location& where) {
    std::string name = where.function_name();
    for (const std::string_view part : {"(anonymous namespace)::", "{anonymous}::"})
        for (std::size_t at; (at = name.find(part)) != std::string::npos;) name.erase(at, part.size());
    if (name.find("<lambda") != std::string::npos || name.find("(lambda at") != std::string::npos ||
        name.find("(anonymous class)") != std::string::npos)
        return "a lambda";
    name.resize(std::min(name.size(), name.find('(')));
    const std::size_t word = name.find_last_of(" *&");  // after the return type
    return word == std::string::npos ? name : name.substr(word + 1);
}

/// " ('jobs' of server.cpp:31)", " (held by task 1025)", " (in 3.0 s)"
std::string details_of(const wait_shown& each, nanoseconds_t now) {
    std::string text;
    const auto add = [&text](const std::string& part) { text += (text.empty() ? " (" : ", ") + part; };
    const bool known = each.made_at.line() != 0 && !is_ours(each.made_at);
    const std::string made = known ? "of " + place(each.made_at) : "";
    if (each.label != nullptr)
        add("'" + std::string(each.label) + (known ? "' " : "'") + made);
    else if (known)
        add(made);
    if (each.is.task != 0) add("task " + std::to_string(each.is.task));
    if (each.is.partners != nullptr)
        add(std::to_string(each.is.partner_count) + " " + each.is.partners +
            (each.is.partner_count == 1 ? "" : "s"));
    if (each.is.due != INT64_MAX) add(each.is.due > now ? "in " + as_time(each.is.due - now) : "due");
    return text.empty() ? text : text + ")";
}

/// "to receive (of server.cpp:31) or for a deadline (in 3.0 s), "
std::string waits_of(const task_record& task, nanoseconds_t now) {
    std::string text;
    for (const wait_shown& each : task.waits) {
        if (!text.empty()) text += " or ";
        text += each.is.what + details_of(each, now);
    }
    if (task.fd >= 0) text += " (descriptor " + std::to_string(task.fd) + ", in the kernel)";
    if (task.more_waits != 0) text += " or " + std::to_string(task.more_waits) + " more";
    return text.empty() ? text : text + ", ";
}

std::string head_of(const task_group& group, nanoseconds_t now) {
    const task_record& task = group.oldest;
    std::string text = std::to_string(group.count) + (group.count == 1 ? " task " : " tasks ");
    if (task.name != nullptr) text += "'" + std::string(task.name) + "' ";
    switch (task.state) {
        case task_state::waits:
            text += "waiting " + waits_of(task, now);
            break;
        case task_state::in_kernel:
            text += "waiting " + waits_of(task, now);
            break;
        case task_state::runs:
            return text + "running or ready to run";
        case task_state::thread:
            text += "(a plain thread) waiting " + waits_of(task, now);
            break;
    }
    text += "for " + as_time(now - task.since);
    if (group.count > 1 && as_time(now - task.since) != as_time(now - group.newest_since))
        text += " to " + as_time(now - group.newest_since);
    if (task.cancelled)
        text += ", cancelled";
    else if (task.deadline != no_deadline)
        text += task.deadline > now ? ", deadline in " + as_time(task.deadline - now) : ", deadline passed";
    return text;
}

std::string numbers_of(const task_group& group) {
    std::string text = group.count == 1 ? "  number " : "  numbers ";
    for (std::size_t i = 0; i < group.ids.size(); ++i)
        text += (i == 0 ? "" : ", ") + std::to_string(group.ids[i]);
    return text + (group.count > group.ids.size() ? ", …" : "");
}
}

std::string describe(const std::vector<task_group>& groups, nanoseconds_t now) {
    std::string text;
    for (const task_group& group : groups) {
        text += "\n" + head_of(group, now) + "\n";
        for (const std::source_location& each : group.oldest.chain)
            if (!is_ours(each)) text += "    " + place(each) + "  in " + function_of(each) + "\n";
        if (group.oldest.chain_cut) text += "    …\n";
        if (!is_ours(group.oldest.spawned_at) && group.oldest.state != task_state::thread)
            text += "  started at " + place(group.oldest.spawned_at) + "\n";
        text += numbers_of(group) + "\n";
    }
    return text;
}

std::string describe_deadlock(const runtime_core& core, nanoseconds_t now) {
    const task_dump all = dump(core);
    std::string text = "all tasks are asleep: deadlock\n";
    const std::vector<wait_edge> cycle = find_cycle(all.edges);
    if (!cycle.empty()) text += "these wait for each other:";
    for (const wait_edge& each : cycle)
        text += " task " + std::to_string(each.from) + " " + each.what + " of task " +
                std::to_string(each.to) + (&each == &cycle.back() ? "\n" : ",");
    return text + describe(all.groups, now);
}

std::string describe_orphans(const runtime_core& core, const std::set<std::uint64_t>& orphans,
                             nanoseconds_t now) {
    return (orphans.size() == 1 ? "1 task waits" : std::to_string(orphans.size()) + " tasks wait") +
           " for channels that nobody else has a handle of: only a cancel will end that\n" +
           describe(dump(core, &orphans).groups, now);
}

std::string describe_tasks(const runtime_core& core, nanoseconds_t now) {
    const std::vector<task_group> groups = dump(core).groups;
    std::size_t count = 0;
    for (const task_group& group : groups) count += group.count;
    return "runnel: " + std::to_string(count) + (count == 1 ? " task" : " tasks") + " of '" +
           core.settings.name() + "' on " + std::to_string(core.workers.size()) +
           (core.workers.size() == 1 ? " worker\n" : " workers\n") + describe(groups, now);
}
}

namespace runnel {

std::string dump_tasks() { return detail::describe_tasks(detail::current_runtime(), detail::clock_now()); }

std::string runtime::dump_tasks() const { return detail::describe_tasks(*core_, core_->drivers->now()); }
}
