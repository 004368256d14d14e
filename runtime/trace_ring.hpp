// trace_ring: the events of one worker, the newest of them.
//
// One writer, any readers, no lock: the writer fills a slot and then publishes its number; a reader copies
// slots and afterwards drops those that the writer may have begun to overwrite meanwhile.
//
//   R1  slot i % size belongs to event i from the store of `head` = i + 1 until `head` = i + size;
//   R2  a reader keeps event i only if `head`, read after the copy, is below i + size.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include <runnel/detail/driver.hpp>

namespace runnel::detail {

enum class trace_kind : std::uint64_t { turn_begins, turn_ends, wake };

struct trace_event {
    trace_kind kind;
    nanoseconds_t time;
    std::uint64_t task;
    std::uint64_t arrow;  // the same in a wake and in the turn that it caused
};

class trace_ring {
public:
    explicit trace_ring(std::size_t size) : size_(size), slots_(new slot[size]) {}

    /// The owner's.
    void add(const trace_event& event) noexcept {
        const std::uint64_t at = head_.load(std::memory_order_relaxed);  // relaxed: our own
        slot& into = slots_[at % size_];
        // release: pairs with read(); who sees one of these sees the head that came before them (R2).
        into.kind.store(static_cast<std::uint64_t>(event.kind), std::memory_order_release);
        into.time.store(static_cast<std::uint64_t>(event.time), std::memory_order_release);
        into.task.store(event.task, std::memory_order_release);    // release: as above
        into.arrow.store(event.arrow, std::memory_order_release);  // release: as above
        head_.store(at + 1, std::memory_order_release);            // release: pairs with read()
    }

    /// What has been added since the last forget(), as far as it is there; the oldest first. Threads: any.
    std::vector<trace_event> read() const;
    void forget() noexcept { begin_.store(head_.load()); }
    std::size_t size() const noexcept { return size_; }

private:
    struct slot {
        std::atomic<std::uint64_t> kind{0}, time{0}, task{0}, arrow{0};
    };
    const std::size_t size_;
    const std::unique_ptr<slot[]> slots_;
    std::atomic<std::uint64_t> head_{0};
    std::atomic<std::uint64_t> begin_{0};
};
}
