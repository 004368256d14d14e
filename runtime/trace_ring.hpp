// trace_ring: the events of one worker, the newest of them.
//
// One writer, any readers, no lock: the writer fills a slot and then publishes its number; a reader copies
// slots and afterwards drops those that the writer may have begun to overwrite meanwhile.
//
//   R1  slot i % size belongs to event i from the store of `head` = i + 1 until `head` = i + size;
//   R2  a reader keeps event i only if `head`, read after the copy, is below i + size;
//   R3  an event refers to nothing that can go: an object is told by its address, which is only compared, its label
//       is a literal, its place what the compiler keeps of std::source_location. So it can be read after the
//       object has died, and after its task.
//
// Not taken: events of different lengths (a reader that has been overtaken would not know where one begins).
#pragma once

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <source_location>
#include <vector>

#include <runnel/detail/driver.hpp>

namespace runnel::detail {

enum class trace_kind : std::uint8_t {
    turn_begins,
    turn_ends,
    wake,         // `task` has been claimed and goes into a run queue
    wait,         // a task begins to wait; one event per case, at most waits_traced of them
    done,         // an operation happened without waiting
    io_submit,    // a task begins to wait for an operation in the kernel
    io_complete,  // and learns how it ended
    io_at_once,   // an operation that needed no wait
};

inline constexpr std::size_t waits_traced = 8;

/// What an event has, by kind; the rest is 0.
struct trace_event {
    trace_kind kind = trace_kind::turn_begins;
    nanoseconds_t time = 0;
    std::uint64_t task = 0;      // whose it is: its number
    std::uint64_t wait = 0;      // which wait of that task begins, is ended, or has led to this turn
    std::uint16_t name = 0;      // of the task (task_names.hpp)
    std::uint64_t object = 0;    // wait, done: the address of what it waits at; io: the descriptor
    const char* what = nullptr;  // wait: "to receive"; done: "send"; io: "accept"
    const char* label = nullptr;
    std::source_location made_at = {};
    std::int64_t value =
        0;  // wait: who could end it; done: whose wait it ended; io: bytes, the descriptor that
            // was accepted, or -errno
};

class trace_ring {
public:
    explicit trace_ring(std::size_t size) : size_(size), slots_(new slot[size]) {}

    /// The owner's.
    void add(const trace_event& event) noexcept {
        const std::uint64_t at = head_.load(std::memory_order_relaxed);  // relaxed: our own
        slot& into = slots_[at % size_];
        const packed words = pack(event);
        // release: pairs with read(); who sees one of these sees the head that came before them (R2).
        for (std::size_t i = 0; i < event_words; ++i)
            into.words[i].store(words.at[i], std::memory_order_release);
        head_.store(at + 1, std::memory_order_release);  // release: pairs with read()
    }

    /// What has been added since the last forget(), as far as it is there; the oldest first. Threads: any.
    std::vector<trace_event> read() const;
    void forget() noexcept { begin_.store(head_.load()); }
    std::size_t size() const noexcept { return size_; }

private:
    static constexpr std::size_t event_words = 8;
    struct packed {
        std::uint64_t at[event_words];
    };
    struct alignas(64) slot {
        std::atomic<std::uint64_t> words[event_words]{};
    };

    static_assert(sizeof(std::source_location) == sizeof(std::uint64_t));
    static packed pack(const trace_event& event) noexcept {
        const std::uint64_t kind = static_cast<std::uint64_t>(event.kind);
        return {{kind | std::uint64_t{event.name} << 8 | event.wait << 20,
                 static_cast<std::uint64_t>(event.time), event.task, event.object,
                 std::bit_cast<std::uint64_t>(event.what), std::bit_cast<std::uint64_t>(event.label),
                 std::bit_cast<std::uint64_t>(event.made_at), static_cast<std::uint64_t>(event.value)}};
    }
    static trace_event unpack(const packed& words) noexcept {
        return {static_cast<trace_kind>(words.at[0] & 0xff),
                static_cast<nanoseconds_t>(words.at[1]),
                words.at[2],
                words.at[0] >> 20,
                static_cast<std::uint16_t>((words.at[0] >> 8) & 0xfff),
                words.at[3],
                std::bit_cast<const char*>(words.at[4]),
                std::bit_cast<const char*>(words.at[5]),
                std::bit_cast<std::source_location>(words.at[6]),
                static_cast<std::int64_t>(words.at[7])};
    }

    const std::size_t size_;
    const std::unique_ptr<slot[]> slots_;
    std::atomic<std::uint64_t> head_{0};
    std::atomic<std::uint64_t> begin_{0};
};
}
