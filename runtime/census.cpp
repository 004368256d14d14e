// See census.hpp, whose steps and invariants are named here.
#include "census.hpp"

#include <cstdio>
#include <mutex>
#include <new>
#include <string_view>

#include <runnel/label.hpp>
#include "runtime_core.hpp"
#include "task_dump.hpp"
#include "task_names.hpp"
#include "task_slab.hpp"

namespace runnel::detail {

constinit std::atomic<std::uint32_t> counters_open{0};

namespace {
constinit std::atomic<census*> newest_census{nullptr};
constinit std::atomic<census*> nobodys{nullptr};  // made with the first region
constinit std::atomic<std::uint32_t> plain_regions{0};
constinit std::atomic<std::uint64_t> regions_begun{0};

spin_lock unused_lock;
census* unused = nullptr;

// relaxed, both: see counted's constructor.
void one_more() noexcept { counters_open.fetch_add(1, std::memory_order_relaxed); }
void one_fewer() noexcept { counters_open.fetch_sub(1, std::memory_order_relaxed); }

/// Of tasks that go() and scopes start.
bool is_counted_kind(const task_block& task) noexcept {
    return task.kind == task_kind::spawned || task.kind == task_kind::child;
}
}

/// Who counts what is done here and now; null: nobody.
static census* counting_here() noexcept {
    if (const worker* here = current_worker(); here != nullptr) {
        if (census* of = here->core.counts.get(); of != nullptr) return of;
    }
    // relaxed: who begins a region meanwhile does not mean this object.
    if (plain_regions.load(std::memory_order_relaxed) == 0) return nullptr;
    // acquire: pairs with the release in census_region().
    return nobodys.load(std::memory_order_acquire);
}

census_entry* count_made(counted_kind what, std::source_location at, const origin* made) noexcept {
    census* const of = counting_here();
    return of != nullptr ? of->add(what, at, made) : nullptr;
}

void count_overlooked(std::source_location at) noexcept {
    if (census* const of = counting_here(); of != nullptr) of->add_overlooked(at);
}

void count_gone(census_entry& entry) noexcept { census::give_back(entry); }

// --- A census --------------------------------------------------------------------------------------

census* census::newest() noexcept {
    return newest_census.load(std::memory_order_acquire);  // acquire: pairs with make()
}

census& census::make() {
    static spin_lock growth;
    const std::lock_guard guard(growth);
    auto* made = new census(newest_census.load(std::memory_order_relaxed));  // relaxed: under this lock
    newest_census.store(made, std::memory_order_release);                    // release: pairs with newest()
    return *made;
}

census& census::open(const runtime_core* of, bool simulated) {
    census* chosen = nullptr;
    {
        const std::lock_guard guard(unused_lock);
        if (unused != nullptr) chosen = std::exchange(unused, unused->next_unused_);
    }
    if (chosen == nullptr) chosen = &make();
    chosen->of_.store(of, std::memory_order_relaxed);  // relaxed, both: regions look at them as a hint
    chosen->simulated_.store(simulated, std::memory_order_relaxed);
    chosen->open_ = true;  // nobody else has it
    one_more();
    return *chosen;
}

void census::close() noexcept {
    one_fewer();
    of_.store(nullptr, std::memory_order_relaxed);  // relaxed: see open()
    lock_.lock();
    open_ = false;
    // relaxed: who begins a region just now does not mean what was before.
    if (simulated() || plain_regions.load(std::memory_order_relaxed) == 0) drop_overlooked();
    const bool is_unused = unneeded();
    lock_.unlock();
    if (is_unused) put_aside();
}

void census::put_aside() noexcept {
    const std::lock_guard guard(unused_lock);
    next_unused_ = unused;
    unused = this;
}

/// Under the lock. Null when there is no memory.
census_entry* census::free_entry() noexcept {
    if (free_ != nullptr) return std::exchange(free_, free_->next);
    try {
        entries_.push_back(std::make_unique<census_entry>());
    } catch (const std::bad_alloc&) {
        return nullptr;
    }
    entries_.back()->home = this;
    return entries_.back().get();
}

census_entry* census::add(counted_kind what, std::source_location at, const origin* made) noexcept {
    const std::lock_guard guard(lock_);
    census_entry* const entry = free_entry();
    if (entry == nullptr) return nullptr;
    entry->at = at;
    entry->made = made;
    entry->what = what;
    // relaxed: an object that is made while a region begins may be in it or not.
    entry->since = regions_begun.load(std::memory_order_relaxed);
    entry->prev = nullptr;
    entry->next = first_;
    if (first_ != nullptr) first_->prev = entry;
    first_ = entry;
    return entry;
}

void census::give_back(census_entry& entry) noexcept {
    census& home = *entry.home;
    home.lock_.lock();
    (entry.prev != nullptr ? entry.prev->next : home.first_) = entry.next;
    if (entry.next != nullptr) entry.next->prev = entry.prev;
    entry.next = home.free_;
    home.free_ = &entry;
    const bool is_unused = home.unneeded();
    home.lock_.unlock();
    if (is_unused) home.put_aside();
}

static bool same_place(std::source_location a, std::source_location b) noexcept {
    return a.line() == b.line() && a.column() == b.column() &&
           std::string_view(a.file_name()) == b.file_name();
}

void census::add_overlooked(std::source_location at) noexcept {
    const std::lock_guard guard(lock_);
    const std::uint64_t since = regions_begun.load(std::memory_order_relaxed);  // relaxed: as in add()
    for (census_entry* each = overlooked_; each != nullptr; each = each->next) {
        if (each->since != since || !same_place(each->at, at)) continue;
        ++each->times;
        return;
    }
    census_entry* const entry = free_entry();
    if (entry == nullptr) return;
    entry->at = at;
    entry->since = since;
    entry->times = 1;
    entry->next = overlooked_;
    overlooked_ = entry;
}

/// Under the lock.
void census::drop_overlooked() noexcept {
    while (census_entry* const entry = overlooked_) {
        overlooked_ = entry->next;
        entry->next = free_;
        free_ = entry;
    }
}

bool census::empty() noexcept {
    const std::lock_guard guard(lock_);
    return first_ == nullptr && overlooked_ == nullptr;
}

void census::gather(left_objects& into, std::uint64_t since) {
    const std::lock_guard guard(lock_);
    for (const census_entry* each = first_; each != nullptr; each = each->next)
        if (each->since >= since)
            into.add(each->what, each->at, each->made != nullptr ? each->made->label() : nullptr);  // J3
    for (const census_entry* each = overlooked_; each != nullptr; each = each->next)
        if (each->since >= since) into.add(counted_kind::overlooked_send, each->at, nullptr, each->times);
}

// --- What is left ----------------------------------------------------------------------------------

/// "server.cpp:31 ('jobs')"
static std::string place_and_label(std::source_location at, const char* label) {
    const bool known = at.line() != 0 && !is_ours(at);
    const std::string name = label != nullptr ? " ('" + std::string(label) + "')" : "";
    return (known ? "at " + place(at) : "inside the library") + name;
}

void left_objects::add(counted_kind what, std::source_location at, const char* label, std::size_t times) {
    const char* const did = what == counted_kind::overlooked_send ? "" : "made ";
    counts_[{what, did + place_and_label(at, label)}] += times;
}

void left_objects::add_task(const task_block& task) {
    const task_number number = task.id;
    const std::string start = "started " + place_and_label(task.spawned_at, name_at(number.name()));
    if (task.ended)
        ++counts_[{counted_kind::ended_task, start + ", kept by a join_handle"}];
    else
        ++counts_[{counted_kind::task, start}];
}

std::string left_objects::text(const char* indent) const {
    constexpr const char* names[][2] = {
        {"task", "tasks"},
        {"ended task", "ended tasks"},
        {"context", "contexts"},
        {"channel", "channels"},
        {"timer", "timers"},
        {"ticker", "tickers"},
        {"listener", "listeners"},
        {"socket", "sockets"},
        {"file", "files"},
        {"pipe", "pipes"},
        {"child process", "child processes"},
        {"file watch", "file watches"},
        {"receiver of signals", "receivers of signals"},
        {"failed send whose result nobody looked at,", "failed sends whose results nobody looked at,"},
    };
    std::string text;
    for (const auto& [key, count] : counts_) {
        const auto& [what, where] = key;
        const char* const name = names[static_cast<std::size_t>(what)][count == 1 ? 0 : 1];
        text += indent + std::to_string(count) + " " + name + " " + where + "\n";
    }
    return text;
}

/// In a simulation all that began on its worker also ended there, or some are left.
static bool all_tasks_went(const runtime_core& core) noexcept {
    const worker& only = *core.workers[0];
    return only.steered_by() != nullptr && only.counts.started.get() == only.counts.freed.get();
}

/// One of a simulation that has ended: it is nobody's from now on, so no region takes it for one of another runtime.
static void disown(task_block& task, runtime_core& core) noexcept {
    runtime_core* whose = &core;  // a block that is given back just now may be another's already
    // relaxed: see find_left().
    task.runtime.compare_exchange_strong(whose, nullptr, std::memory_order_relaxed);
}

left_objects find_left(runtime_core& core) {
    left_objects left;
    if (!core.counts->empty()) core.counts->gather(left, 0);
    if (all_tasks_went(core)) return left;
    for_each_block([&](task_block& task) {
        // relaxed: none of them runs any more; but a plain thread may drop the handle of one just now.
        if (task.runtime.load(std::memory_order_relaxed) != &core) return;
        if (!is_counted_kind(task) || !task.counted) return;
        left.add_task(task);
        task.counted = false;  // J4
        if (core.workers[0]->steered_by() != nullptr) disown(task, core);
    });
    return left;
}

void report_left(runtime_core& core) noexcept {
    if (core.counts == nullptr) return;
    const left_objects left = find_left(core);
    if (left.empty()) return;
    std::fprintf(stderr, "runnel: '%s' has stopped; of what its tasks made is left:\n%s",
                 core.settings.name().c_str(), left.text("  ").c_str());
}

// --- Regions ---------------------------------------------------------------------------------------

census_region::census_region(const runtime_core* simulation) : simulation_(simulation) {
    if (simulation_ == nullptr) {
        census* none = nullptr;
        // acq_rel: release pairs with the acquire in count_made().
        if (nobodys.load(std::memory_order_acquire) == nullptr)
            if (census& made = census::open(nullptr, false);
                !nobodys.compare_exchange_strong(none, &made, std::memory_order_acq_rel))
                made.close();
        plain_regions.fetch_add(1);
        one_more();
    }
    began_ = regions_begun.fetch_add(1) + 1;
    for_each_task([this](const task_block& task) { tasks_before_.insert({&task, task.id.get()}); });
}

census_region::~census_region() {
    if (simulation_ != nullptr) return;
    plain_regions.fetch_sub(1);
    one_fewer();
}

template <class Visit>
void census_region::for_each_task(Visit visit) const {
    std::set<const runtime_core*> simulated;
    for (census* each = census::newest(); each != nullptr; each = each->older)
        if (each->simulated()) simulated.insert(each->of());
    for_each_block([&](const task_block& task) {
        // relaxed: a look at tasks that come and go.
        const runtime_core* of = task.runtime.load(std::memory_order_relaxed);
        if (of == nullptr || !is_counted_kind(task)) return;
        if (simulation_ != nullptr ? of == simulation_ : !simulated.contains(of)) visit(task);
    });
}

left_objects census_region::left() const {
    left_objects left;
    for (census* each = census::newest(); each != nullptr; each = each->older)
        if (simulation_ != nullptr ? each->of() == simulation_ : !each->simulated())
            each->gather(left, began_);
    for_each_task([&](const task_block& task) {
        if (!tasks_before_.contains({&task, task.id.get()})) left.add_task(task);
    });
    return left;
}
}
