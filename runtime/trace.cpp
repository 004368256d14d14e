// See trace.hpp and trace_ring.hpp. The format: "Trace Event Format" of the Chromium project; times in it are
// microseconds, a thread of it is one of our workers.
#include <runnel/trace.hpp>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <memory>
#include <unordered_map>

#include "runtime_core.hpp"
#include "trace_ring.hpp"

namespace runnel::detail {

std::vector<trace_event> trace_ring::read() const {
    const std::uint64_t end = head_.load(std::memory_order_acquire);  // acquire: pairs with add()
    const std::uint64_t first = std::max(begin_.load(), end > size_ ? end - size_ : 0);
    std::vector<trace_event> events;
    events.reserve(end - first);
    for (std::uint64_t i = first; i < end; ++i) {
        const slot& from = slots_[i % size_];
        // acquire: pairs with add(); the load of head_ below sees at least what came before these.
        events.push_back({static_cast<trace_kind>(from.kind.load(std::memory_order_acquire)),
                          static_cast<nanoseconds_t>(from.time.load(std::memory_order_acquire)),
                          from.task.load(std::memory_order_acquire),     // acquire: as above
                          from.arrow.load(std::memory_order_acquire)});  // acquire: as above
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

void worker::start_trace(std::size_t events) {
    trace_lock_.lock();
    const bool fits = !trace_rings_.empty() && trace_rings_.back()->size() == events;
    trace_lock_.unlock();
    std::unique_ptr<trace_ring> fresh = fits ? nullptr : std::make_unique<trace_ring>(events);
    trace_lock_.lock();
    // A ring that is too small stays until the worker goes: it may be writing into it just now.
    if (fresh != nullptr) trace_rings_.push_back(std::move(fresh));
    trace_rings_.back()->forget();
    trace_.store(trace_rings_.back().get());
    trace_lock_.unlock();
}

void worker::stop_trace() noexcept { trace_.store(nullptr); }

std::vector<trace_event> worker::trace_events() {
    trace_lock_.lock();
    trace_ring* ring = trace_rings_.empty() ? nullptr : trace_rings_.back().get();
    trace_lock_.unlock();
    return ring != nullptr ? ring->read() : std::vector<trace_event>();
}

namespace {
/// Which wait of which task a wake-up has ended; 0: nobody's, the task has given way or has just been started.
std::uint64_t arrow_to(const task_block& task) noexcept {
    const std::uint64_t word = task.word.load(std::memory_order_relaxed);  // relaxed: claimed by us, or ours
    if ((word & word_bits::state_mask) != word_bits::taken) return 0;
    return (task.id << 20) + ((word >> word_bits::epoch_shift) & 0xfffff);
}
}

void worker::trace_turn_begins(trace_ring& into, const task_block& task) noexcept {
    into.add({trace_kind::turn_begins, driver_->now(), task.id, arrow_to(task)});
}
void worker::trace_turn_ends(trace_ring& into) noexcept {
    into.add({trace_kind::turn_ends, driver_->now(), 0, 0});
}
void worker::trace_wake(trace_ring& into, const task_block& task) noexcept {
    if (const std::uint64_t arrow = arrow_to(task); arrow != 0)
        into.add({trace_kind::wake, driver_->now(), task.id, arrow});
}

// --- The page --------------------------------------------------------------------------------------

namespace {

std::string quoted(const std::string& text) {
    std::string safe = "\"";
    for (const char c : text) {
        if (c == '"' || c == '\\') safe += '\\';
        if (static_cast<unsigned char>(c) >= 0x20) safe += c;
    }
    return safe + "\"";
}

/// One event after the other; all have the same process, and the worker as their thread.
class json_page {
public:
    explicit json_page(const std::string& runtime) {
        text_ = "{\"displayTimeUnit\":\"ns\",\"traceEvents\":[\n"
                "{\"ph\":\"M\",\"pid\":1,\"tid\":0,\"name\":\"process_name\",\"args\":{\"name\":" +
                quoted(runtime) + "}}";
    }
    void thread(unsigned worker) {
        text_ += ",\n{\"ph\":\"M\",\"pid\":1,\"tid\":" + std::to_string(worker) +
                 ",\"name\":\"thread_name\",\"args\":{\"name\":\"worker " + std::to_string(worker) + "\"}}";
    }
    void turn(unsigned worker, const trace_event& begin, nanoseconds_t end) {
        head("X", worker, begin.time, "task " + std::to_string(begin.task));
        text_ += ",\"cat\":\"turn\",\"dur\":" + microseconds(end - begin.time) + "}";
    }
    void arrow(const char* phase, unsigned worker, const trace_event& event) {
        head(phase, worker, event.time, "wake");
        text_ += ",\"cat\":\"wake\",\"id\":" + std::to_string(event.arrow);
        text_ += *phase == 'f' ? ",\"bp\":\"e\"}" : "}";
    }
    std::string text() && { return std::move(text_) + "\n]}\n"; }

private:
    static std::string microseconds(nanoseconds_t time) {
        char text[32];
        std::snprintf(text, sizeof text, "%lld.%03lld", static_cast<long long>(time / 1000),
                      static_cast<long long>(time % 1000));
        return text;
    }
    void head(const char* phase, unsigned worker, nanoseconds_t time, const std::string& name) {
        text_ += ",\n{\"ph\":\"" + std::string(phase) + "\",\"pid\":1,\"tid\":" + std::to_string(worker) +
                 ",\"ts\":" + microseconds(time) + ",\"name\":\"" + name + "\"";
    }
    std::string text_;
};

using events_of_workers = std::vector<std::vector<trace_event>>;

/// An arrow is drawn only if both of its ends are there. (A turn begins where its wake-up, by another worker's
/// clock of the same machine, has been noted before.)
std::unordered_map<std::uint64_t, int> ends_of_arrows(const events_of_workers& all) {
    std::unordered_map<std::uint64_t, int> ends;
    for (const auto& events : all)
        for (const trace_event& event : events) {
            if (event.kind == trace_kind::wake) ends[event.arrow] |= 1;
            if (event.kind == trace_kind::turn_begins) ends[event.arrow] |= 2;
        }
    return ends;
}

std::string as_json(const std::string& name, const events_of_workers& all) {
    json_page page(name);
    const auto ends = ends_of_arrows(all);
    for (unsigned worker = 0; worker < all.size(); ++worker) {
        page.thread(worker);
        const trace_event* begin = nullptr;
        for (const trace_event& event : all[worker]) {
            const bool whole = event.arrow != 0 && ends.at(event.arrow) == 3;
            if (event.kind == trace_kind::turn_begins) {
                begin = &event;
                if (whole) page.arrow("f", worker, event);
            } else if (event.kind == trace_kind::turn_ends) {
                if (begin != nullptr) page.turn(worker, *begin, event.time);
                begin = nullptr;
            } else if (whole) {
                page.arrow("s", worker, event);
            }
        }
    }
    return std::move(page).text();
}
}
}

namespace runnel::trace {

void start(std::size_t events_per_worker) {
    detail::check(events_per_worker > 0, "trace: room for no event");
    for (const auto& each : detail::current_runtime().workers) each->start_trace(events_per_worker);
}

void stop() noexcept {
    for (const auto& each : detail::current_runtime().workers) each->stop_trace();
}

std::string to_json() {
    const detail::runtime_core& core = detail::current_runtime();
    detail::events_of_workers all;
    for (const auto& each : core.workers) all.push_back(each->trace_events());
    return detail::as_json(core.settings.name(), all);
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
