// publication: once await_suspend has given the handle to another thread, nothing touches the frame.
//
// await_suspend hands the coroutine to a thread that resumes it to its end, or destroys it, and returns only
// after that. Freed frames are filled with a pattern and looked at later; under ASan they are simply freed.
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <new>
#include <thread>
#include <vector>

#include "../support/build_kind.hpp"
#include "../support/level.hpp"
#include "canary.hpp"

using canary::expect;

namespace {

/// Keeps freed frames for a while, and counts those that were written to meanwhile.
class graveyard {
public:
    void bury(void* frame, std::size_t size) {
        if constexpr (support::address_sanitized) {
            std::free(frame);
        } else {
            std::memset(frame, pattern, size);
            const std::lock_guard lock(mutex_);
            graves_.push_back({static_cast<unsigned char*>(frame), size});
        }
    }
    int open() {
        int disturbed = 0;
        for (const grave& g : graves_) {
            for (std::size_t i = 0; i < g.size; ++i) disturbed += g.frame[i] != pattern;
            std::free(g.frame);
        }
        graves_.clear();
        return disturbed;
    }

private:
    static constexpr unsigned char pattern = 0xdb;
    struct grave {
        unsigned char* frame;
        std::size_t size;
    };
    std::mutex mutex_;
    std::vector<grave> graves_;
};
graveyard frames;

/// A coroutine that starts at once and frees itself at its end.
struct fire_and_forget {
    struct promise_type {
        fire_and_forget get_return_object() noexcept { return {}; }
        std::suspend_never initial_suspend() noexcept { return {}; }
        std::suspend_never final_suspend() noexcept { return {}; }
        void return_void() noexcept {}
        void unhandled_exception() noexcept { std::abort(); }
        static void* operator new(std::size_t size) { return std::malloc(size); }
        static void operator delete(void* frame, std::size_t size) { frames.bury(frame, size); }
    };
};

enum class fate { resumed, destroyed };

/// Lets another thread end the coroutine, and returns from await_suspend when that has happened.
template <class Answer>
class give_away {
public:
    explicit give_away(fate what) noexcept : what_(what) {}
    bool await_ready() noexcept { return false; }
    Answer await_suspend(std::coroutine_handle<> h) {
        const fate what = what_;  // `this` is in the frame, and the frame is gone soon
        std::thread([h, what] {
            if (what == fate::resumed) {
                h.resume();
            } else {
                h.destroy();
            }
        }).join();
        if constexpr (std::is_same_v<Answer, bool>) return true;
        if constexpr (std::is_same_v<Answer, std::coroutine_handle<>>) return std::noop_coroutine();
    }
    void await_resume() noexcept {}

private:
    fate what_;
    std::size_t ballast_[4] = {};
};

template <class Answer>
fire_and_forget plain(fate what) {
    const support::counted local(1);
    co_await give_away<Answer>(what);
    expect(local.value() == 1);
}

template <class Answer>
fire_and_forget in_a_loop(fate what) {
    for (int i = 0; i < 2; ++i) {
        const support::counted local(i);
        if (i == 1) {
            try {
                co_await give_away<Answer>(what);
            } catch (int) {
                co_return;
            }
        }
        expect(local.value() == i);
    }
}

template <class Answer>
void each_fate() {
    for (const fate what : {fate::resumed, fate::destroyed}) {
        plain<Answer>(what);
        in_a_loop<Answer>(what);
    }
}
}

int main() {
    const int rounds = support::scaled(50, 2'000);
    for (int i = 0; i < rounds; ++i) {
        each_fate<void>();
        each_fate<bool>();
        each_fate<std::coroutine_handle<>>();
        expect(frames.open() == 0);
    }
    expect(support::counted::live() == 0);
    expect(support::counted::errors() == 0);
    return canary::failures != 0;
}
