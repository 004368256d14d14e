// canary: a task, a worker and a way to list cases, as small as they can be. Nothing of runnel.
//
// runnel relies on what these files show: what compilers get right (language), that a counted hop keeps the
// stack flat (transfer), that the worker's pointer survives a change of thread (migration), and that nobody
// touches a frame after it was handed on (publication). A new compiler, or an old one with new flags, is
// tried here before a bug is looked for in the library.
#pragma once

#include <coroutine>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <initializer_list>
#include <optional>
#include <source_location>
#include <utility>

#include "../support/counted.hpp"

namespace canary {

/// What each thread that resumes coroutines owns.
struct worker {
    std::coroutine_handle<> next;  // what to resume when the stack has been unwound
    unsigned depth = 0;            // transfers since then
};
inline constinit thread_local worker* tls_worker = nullptr;
inline worker* current() { return tls_worker; }

/// The one way to continue with `h`. g++ makes no tail call of it unless it optimises, so that each
/// 64th goes through the loop below; clang always does.
inline std::coroutine_handle<> transfer(std::coroutine_handle<> h) noexcept {
#if defined(__clang__)
    return h;
#else
    worker* const w = current();
    if (++w->depth < 64) return h;
    w->next = h;
    return std::noop_coroutine();
#endif
}

/// Resumes `h` and all that follows from it.
inline void drain(std::coroutine_handle<> h) {
    for (worker* const w = current(); h; h = std::exchange(w->next, nullptr)) {
        w->depth = 0;
        h.resume();
    }
}

template <class T>
struct result_slot {
    std::optional<T> value;
    template <class U>
    void return_value(U&& v) {
        value.emplace(std::forward<U>(v));
    }
    T take() { return std::move(*value); }
};
template <>
struct result_slot<void> {
    void return_void() noexcept {}
    void take() noexcept {}
};

template <class T = void>
class [[nodiscard]] task {
public:
    struct promise_type;
    using handle = std::coroutine_handle<promise_type>;

    struct promise_type : result_slot<T> {
        std::coroutine_handle<> continuation = std::noop_coroutine();
        std::exception_ptr error;

        struct final_awaiter {
            bool await_ready() noexcept { return false; }
            std::coroutine_handle<> await_suspend(std::coroutine_handle<promise_type> h) noexcept {
                return transfer(h.promise().continuation);
            }
            void await_resume() noexcept {}
        };
        /// g++ 12 gives some frames an address that their own promise does not know; see bites/.
        struct initial_awaiter {
            promise_type* promise;
            explicit initial_awaiter(promise_type* p) noexcept : promise(p) {}
            bool await_ready() noexcept { return false; }
            void await_suspend(std::coroutine_handle<> h) noexcept {
                if (h.address() == handle::from_promise(*promise).address()) return;
                std::printf("FAILED: a coroutine's frame is misplaced\n");
                std::abort();
            }
            void await_resume() noexcept {}
        };
        task get_return_object() noexcept { return task(handle::from_promise(*this)); }
        initial_awaiter initial_suspend() noexcept { return initial_awaiter(this); }
        final_awaiter final_suspend() noexcept { return {}; }
        void unhandled_exception() noexcept { error = std::current_exception(); }
    };

    task(task&& other) noexcept : frame_(std::exchange(other.frame_, nullptr)) {}
    ~task() {
        if (frame_) frame_.destroy();
    }

    class awaiter {
    public:
        explicit awaiter(handle frame) noexcept : frame_(frame) {}
        awaiter(const awaiter&) = delete;
        bool await_ready() noexcept { return false; }
        std::coroutine_handle<> await_suspend(std::coroutine_handle<> parent) noexcept {
            frame_.promise().continuation = parent;
            return transfer(frame_);
        }
        T await_resume() {
            if (frame_.promise().error) std::rethrow_exception(frame_.promise().error);
            return frame_.promise().take();
        }

    private:
        handle frame_;
    };
    awaiter operator co_await() && noexcept { return awaiter(frame_); }

    /// Runs it to its end on this thread.
    T run() {
        drain(frame_);
        return awaiter(frame_).await_resume();
    }
    handle frame() const noexcept { return frame_; }

private:
    explicit task(handle frame) noexcept : frame_(frame) {}
    handle frame_;
};

/// Suspends for real, and gives `value` when the worker's loop resumes it.
template <class T>
class later {
public:
    explicit later(T value) : value_(std::move(value)) {}
    later(later&&) = delete;
    bool await_ready() noexcept { return false; }
    void await_suspend(std::coroutine_handle<> h) noexcept { current()->next = h; }
    T await_resume() { return std::move(value_); }

private:
    T value_;
};

inline int failures = 0;

/// Counts and reports what is not as it must be.
inline void expect(bool good, std::source_location where = std::source_location::current()) {
    if (good) return;
    ++failures;
    std::printf("%s:%u: not as expected\n", where.file_name(), static_cast<unsigned>(where.line()));
}

/// Runs the cases one by one; -> the exit status of the program.
struct named_case {
    const char* name;
    task<> (*body)();
};
inline int run_cases(std::initializer_list<named_case> cases) {
    worker here;
    tls_worker = &here;
    for (const named_case& one : cases) {
        const int before = failures;
        support::counted::reset();
        try {
            one.body().run();
        } catch (...) {
            expect(false);
        }
        expect(support::counted::live() == 0);
        expect(support::counted::errors() == 0);
        if (failures != before) std::printf("FAILED: %s\n", one.name);
    }
    return failures != 0;
}
}
