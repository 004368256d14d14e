// Noting events, and the calls of trace.hpp; what becomes of them is in trace_json.cpp.
#include <runnel/trace.hpp>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <memory>
#include <mutex>

#include <runnel/detail/tracing.hpp>
#include <runnel/label.hpp>
#include "runtime_core.hpp"
#include "task_dump.hpp"
#include "trace_json.hpp"
#include "trace_ring.hpp"

namespace runnel::detail {

std::vector<trace_event> trace_ring::read() const {
    // acquire: pairs with forget(), which has seen this head or an older one. So `end` is not before it.
    const std::uint64_t begin = begin_.load(std::memory_order_acquire);
    const std::uint64_t end = head_.load(std::memory_order_acquire);  // acquire: pairs with add()
    const std::uint64_t first = std::max(begin, end > size_ ? end - size_ : 0);
    std::vector<trace_event> events;
    events.reserve(end - first);
    for (std::uint64_t i = first; i < end; ++i) {
        const slot& from = slots_[i % size_];
        packed words;
        // acquire: pairs with add(); the load of head_ below sees at least what came before these.
        for (std::size_t n = 0; n < event_words; ++n)
            words.at[n] = from.words[n].load(std::memory_order_acquire);
        events.push_back(unpack(words));
    }
    // relaxed: ordered by the loads above. One more: the event that is just being written.
    const std::uint64_t now = head_.load(std::memory_order_relaxed) + 1;
    const std::uint64_t kept = now > size_ ? now - size_ : 0;  // R2
    if (kept > first)
        events.erase(events.begin(),
                     events.begin() + static_cast<std::ptrdiff_t>(std::min(kept - first, end - first)));
    return events;
}

// --- A worker's ------------------------------------------------------------------------------------

/// Under the lock. False: no ring has this size.
bool worker::begin_trace(std::size_t events) noexcept {
    const auto fits = std::find_if(trace_rings_.begin(), trace_rings_.end(),
                                   [&](const auto& each) { return each->size() == events; });
    if (fits == trace_rings_.end()) return false;
    std::rotate(fits, fits + 1, trace_rings_.end());
    trace_rings_.back()->forget();
    // release: pairs with note_trace(); the owner sees the ring whole.
    trace_.store(trace_rings_.back().get(), std::memory_order_release);
    return true;
}

void worker::start_trace(std::size_t events) {
    std::unique_lock hold(trace_lock_);
    if (!begin_trace(events)) {
        hold.unlock();
        auto fresh = std::make_unique<trace_ring>(events);
        hold.lock();
        // One of another size stays, for the owner may be writing into it just now; until it fits again, or we go.
        trace_rings_.push_back(std::move(fresh));
        begin_trace(events);
    }
    hold.unlock();
    tell_of_trace();
    const bool ours = current_worker() == this && traced != nullptr;  // null: stopped again by another worker
    if (ours && running != nullptr) trace_turn_begins(*running);
}

void worker::stop_trace() noexcept {
    trace_.store(nullptr,
                 std::memory_order_relaxed);  // relaxed: the owner needs nothing of ours to write no more
    tell_of_trace();
}

/// `traced` is the owner's; others have it look, also when it sleeps.
void worker::tell_of_trace() noexcept {
    if (current_worker() == this) return note_trace();
    ask_for_tick();
    unpark();
}

std::vector<trace_event> worker::trace_events() {
    trace_lock_.lock();
    trace_ring* ring = trace_rings_.empty() ? nullptr : trace_rings_.back().get();
    trace_lock_.unlock();
    return ring != nullptr ? ring->read() : std::vector<trace_event>();
}

namespace {
/// An event of this task, now.
trace_event event_of(trace_kind kind, const task_block* task) noexcept {
    trace_event event;
    event.kind = kind;
    event.time = clock_now();
    if (task == nullptr) return event;
    const task_number number = task->id;
    event.task = number;
    event.name = number.name();
    return event;
}

/// The number of the wait that a wake-up has ended; 0: none has, the task has given way or has just been started.
std::uint64_t wait_ended(const task_block& task) noexcept {
    const std::uint64_t word = task.word.load(std::memory_order_relaxed);  // relaxed: claimed by us, or ours
    return (word & word_bits::state_mask) == word_bits::taken ? word >> word_bits::epoch_shift : 0;
}

void name_object(trace_event& event, const wait_object* object, const origin* named) noexcept {
    event.object = reinterpret_cast<std::uintptr_t>(object);
    if (named == nullptr) return;
    event.label = named->label();
    event.made_at = named->made_at();
}
}

void worker::trace_turn_begins(const task_block& task) noexcept {
    trace_event event = event_of(trace_kind::turn_begins, &task);
    event.wait = wait_ended(task);
    traced_turn_ = event.task;
    traced->add(event);
}

void worker::trace_turn_ends() noexcept {
    trace_event event = event_of(trace_kind::turn_ends, nullptr);  // the block may be another task's by now
    event.task = std::exchange(traced_turn_, 0);
    traced->add(event);
}

void worker::trace_wake(const task_block& task) noexcept {
    const std::uint64_t wait = wait_ended(task);
    if (wait == 0) return;
    trace_event event = event_of(trace_kind::wake, &task);
    event.wait = wait;
    traced->add(event);
}

// --- What waits and operations tell ------------------------------------------------------------------

void trace_wait(const task_block& task) noexcept {
    wait_case* cases[cases_max];
    const std::size_t count = std::min(waits_of(task, cases, cases_max), waits_traced);
    trace_event event = event_of(trace_kind::wait, &task);
    event.wait = next_ticket(task) >> word_bits::epoch_shift;
    for (std::size_t i = 0; i < count; ++i) {
        const wait_subject subject = cases[i]->subject();
        event.what = subject.what;
        event.value = static_cast<std::int64_t>(subject.task);
        event.label = nullptr;
        event.made_at = {};
        name_object(event, cases[i]->object(), subject.of);
        tls_worker->traced->add(event);
    }
}

void trace_done(wait_case& done, const late_wake& wake) noexcept {
    const char* const what = done.done(wake);
    if (what == nullptr) return;
    trace_event event = event_of(trace_kind::done, tls_worker->running);
    event.what = what;
    event.value = wake.task != nullptr ? static_cast<std::int64_t>(wake.task->id.get()) : 0;
    name_object(event, done.object(), done.subject().of);
    tls_worker->traced->add(event);
}

void trace_done(const char* what, const wait_object& to, const origin& named) noexcept {
    trace_event event = event_of(trace_kind::done, tls_worker->running);
    event.what = what;
    name_object(event, &to, &named);
    tls_worker->traced->add(event);
}

void trace_submit(const task_block& task, const char* what, int fd, std::size_t bytes) noexcept {
    trace_event event = event_of(trace_kind::io_submit, &task);
    event.wait =
        task.word.load(std::memory_order_relaxed) >> word_bits::epoch_shift;  // relaxed: ours, just armed
    event.what = what;
    event.object = static_cast<std::uint64_t>(fd);
    event.value = static_cast<std::int64_t>(bytes);
    tls_worker->traced->add(event);
}

void trace_complete(const char* what, int fd, std::int64_t result, bool waited) noexcept {
    trace_event event =
        event_of(waited ? trace_kind::io_complete : trace_kind::io_at_once, tls_worker->running);
    event.what = what;
    event.object = static_cast<std::uint64_t>(fd);
    event.value = result;
    tls_worker->traced->add(event);
}
}

namespace runnel::trace {

void start(std::size_t events_per_worker) {
    detail::check(events_per_worker > 1, "trace: room for no event; at least 2 per worker");
    for (const auto& each : detail::current_runtime().workers) each->start_trace(events_per_worker);
}

void stop() noexcept {
    for (const auto& each : detail::current_runtime().workers) each->stop_trace();
}

std::string to_json() {
    const detail::runtime_core& core = detail::current_runtime();
    std::vector<std::vector<detail::trace_event>> all;
    for (const auto& each : core.workers) all.push_back(each->trace_events());
    return detail::trace_as_json(core.settings.name(), all);
}

result<> write(const std::string& path) {
    const std::string text = to_json();
    std::FILE* file = std::fopen(path.c_str(), "we");
    if (file == nullptr) return std::error_code(errno, std::system_category());
    const bool whole = std::fwrite(text.data(), 1, text.size(), file) == text.size();
    const int error = errno;
    if (std::fclose(file) != 0) return std::error_code(errno, std::system_category());
    if (!whole) return std::error_code(error, std::system_category());
    return {};
}
}
