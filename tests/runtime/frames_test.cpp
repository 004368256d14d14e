// Frames: the magazines of a worker, the depot behind them, and malloc behind that.
#include "runtime/frames.hpp"

#include <doctest/doctest.h>

#include <cstring>
#include <random>
#include <set>
#include <thread>
#include <vector>

#include "support/level.hpp"
#include "support/sequencer.hpp"

using namespace runnel::detail;

namespace {

/// Makes the calling thread a worker, as far as frames are concerned.
class as_worker {
public:
    as_worker() { tls_worker = &local_; }
    as_worker(const as_worker&) = delete;
    as_worker& operator=(const as_worker&) = delete;
    ~as_worker() {
        tls_worker = nullptr;
        drain_frames(local_);
    }
    std::uint32_t kept(std::size_t bytes) const {
        return local_.frames[(bytes - 1) / frame_class_bytes].count;
    }

private:
    worker_local local_;
};

/// Frames that hold a pattern of their own: overlapping ones would spoil each other's.
struct held_frame {
    explicit held_frame(std::size_t size, unsigned char mark) : bytes(size), pattern(mark) {
        memory = static_cast<unsigned char*>(allocate_frame(bytes));
        std::memset(memory, pattern, bytes);
    }
    bool intact() const {
        for (std::size_t i = 0; i < bytes; ++i)
            if (memory[i] != pattern) return false;
        return true;
    }
    void free() const { free_frame(memory, bytes); }

    std::size_t bytes;
    unsigned char pattern;
    unsigned char* memory;
};
}

TEST_CASE("frames: what was freed last comes back first, for any size of its class") {
    if (!pooled_frames) return;
    const as_worker here;
    void* const frame = allocate_frame(65);
    const std::uint32_t kept = here.kept(100);
    free_frame(frame, 65);
    CHECK(here.kept(100) == kept + 1);
    CHECK(allocate_frame(128) == frame);
    free_frame(frame, 128);
}

TEST_CASE("frames: threads that are no workers, and frames of any size, are served") {
    for (const std::size_t bytes : {1U, 63U, 64U, 65U, 2048U, 2049U, 100'000U}) {
        const held_frame frame(bytes, 7);
        CHECK(reinterpret_cast<std::uintptr_t>(frame.memory) % 16 == 0);
        CHECK(frame.intact());
        frame.free();
    }
    const as_worker here;
    for (const std::size_t bytes : {1U, 63U, 64U, 65U, 2048U, 2049U, 100'000U}) {
        const held_frame frame(bytes, 7);
        CHECK(frame.intact());
        frame.free();
    }
}

TEST_CASE("frames: a full magazine gives half to the depot, an empty one takes that half back") {
    if (!pooled_frames) return;
    constexpr std::size_t bytes = 1984;  // a class that no other test uses
    const frame_counts before = count_frames();
    const as_worker here;
    std::vector<void*> frames;
    for (std::uint32_t i = 0; i < frames_kept + 1; ++i) frames.push_back(allocate_frame(bytes));
    const std::set<void*> all(frames.begin(), frames.end());
    CHECK(all.size() == frames.size());
    for (void* frame : frames) free_frame(frame, bytes);
    CHECK(here.kept(bytes) == frames_kept / 2 + 1);
    CHECK(count_frames().batches_given == before.batches_given + 1);
    CHECK(count_frames().bytes_kept == before.bytes_kept + frames_kept / 2 * bytes);
    for (std::uint32_t i = 0; i < frames_kept + 1; ++i)
        CHECK(all.count(frames[i] = allocate_frame(bytes)) == 1);
    CHECK(count_frames().batches_taken == before.batches_taken + 1);
    CHECK(count_frames().bytes_kept == before.bytes_kept);
    for (void* frame : frames) free_frame(frame, bytes);
}

TEST_CASE("frames: the depot keeps a bounded amount, and the rest goes back to malloc") {
    if (!pooled_frames) return;
    constexpr std::size_t bytes = 1920;
    const as_worker here;
    std::vector<void*> frames;
    for (int i = 0; i < 6000; ++i) frames.push_back(allocate_frame(bytes));
    const frame_counts before = count_frames();
    for (void* frame : frames) free_frame(frame, bytes);
    const frame_counts after = count_frames();
    CHECK(after.bytes_kept - before.bytes_kept <= std::size_t{4} << 20);
    CHECK(after.batches_released > before.batches_released);
}

TEST_CASE("frames: a consumer's frames come back to their producer through the depot") {
    constexpr std::size_t bytes = 1856;
    constexpr int batch = 64;
    const int rounds = support::scaled(200, 5000);
    std::vector<held_frame> in_flight;
    support::sequencer turns;
    std::thread consumer([&] {
        const as_worker here;
        for (int round = 0; round < rounds; ++round) {
            turns.wait_for(2 * round + 1);
            for (const held_frame& frame : in_flight) {
                CHECK(frame.intact());
                frame.free();
            }
            in_flight.clear();
            turns.advance();
        }
    });
    {
        const as_worker here;
        for (int round = 0; round < rounds; ++round) {
            for (int i = 0; i < batch; ++i) in_flight.emplace_back(bytes, static_cast<unsigned char>(i));
            turns.advance();
            turns.wait_for(2 * round + 2);
        }
    }
    consumer.join();
    if (pooled_frames) CHECK(count_frames().batches_taken > 0);
}

TEST_CASE("frames: workers that allocate and free in random order never share a frame") {
    const int steps = support::scaled(20'000, 1'000'000);
    const auto work = [steps](unsigned seed) {
        const as_worker here;
        std::mt19937 random(seed);
        std::vector<held_frame> held;
        for (int i = 0; i < steps; ++i) {
            if (held.size() < 200 && random() % 2 == 0) {
                held.emplace_back(1 + random() % 2100, static_cast<unsigned char>(random()));
            } else if (!held.empty()) {
                std::swap(held[random() % held.size()], held.back());
                CHECK(held.back().intact());
                held.back().free();
                held.pop_back();
            }
        }
        for (const held_frame& frame : held) frame.free();
    };
    std::thread other(work, 1);
    work(2);
    other.join();
}
