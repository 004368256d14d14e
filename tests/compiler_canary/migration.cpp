// migration: a coroutine that wakes on another thread sees that thread's worker.
//
// clang moves the address of a thread_local, errno and pthread_self() over a suspension; the value of a
// pointer, read again after each suspension, is right in every build. That is what current() does.
#include <array>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "../support/level.hpp"
#include "canary.hpp"

using namespace canary;

namespace {

/// A worker with a mailbox of one coroutine.
struct post_office : worker {
    std::mutex mutex;
    std::condition_variable arrived;
    std::coroutine_handle<> mail;
    std::thread::id thread;
    long visits = 0;
    post_office* other = nullptr;
    std::atomic<bool>* stop = nullptr;

    void post(std::coroutine_handle<> h) {
        const std::lock_guard lock(mutex);
        mail = h;
        arrived.notify_one();
    }
    void serve() {
        tls_worker = this;
        thread = std::this_thread::get_id();
        while (auto h = receive()) drain(h);
    }
    std::coroutine_handle<> receive() {
        std::unique_lock lock(mutex);
        arrived.wait(lock, [&] { return mail || stop->load(); });
        return std::exchange(mail, nullptr);
    }
};
post_office* here() { return static_cast<post_office*>(current()); }

/// Continues on the other thread.
struct hop {
    bool await_ready() noexcept { return false; }
    void await_suspend(std::coroutine_handle<> h) noexcept { here()->other->post(h); }
    void await_resume() noexcept {}
};

task<int> hop_in_a_child(int n) {
    post_office* const before = here();
    co_await hop();
    expect(here() == before->other);
    ++here()->visits;
    co_return n;
}

task<> migrate(std::atomic<bool>* done, int hops) {
    for (int i = 0; i < hops; ++i) {
        post_office* const before = here();
        ++here()->visits;
        co_await hop();
        post_office* const after = here();
        expect(after == before->other);
        ++here()->visits;
        const int n = co_await hop_in_a_child(i);
        expect(n == i);
        expect(here() == before);
        // A call in another function, not inlined here: the value it sees belongs to this thread.
        [] { expect(here()->thread == std::this_thread::get_id()); }();
    }
    {
        const std::lock_guard lock(here()->other->mutex);  // or the other looks, misses it, and sleeps
        done->store(true);
    }
    here()->other->arrived.notify_one();
}
}

int main() {
    std::atomic<bool> done = false;
    std::array<post_office, 2> offices;
    const int hops = support::scaled(5'000, 200'000);
    auto traveller = migrate(&done, hops);
    offices[0].mail = traveller.frame();
    std::array<std::thread, 2> threads;
    for (unsigned i = 0; i < 2; ++i) {
        offices[i].other = &offices[1 - i];
        offices[i].stop = &done;
    }
    for (unsigned i = 0; i < 2; ++i) threads[i] = std::thread([&office = offices[i]] { office.serve(); });
    for (std::thread& thread : threads) thread.join();
    expect(offices[0].visits == 2 * hops);
    expect(offices[1].visits == hops);
    return failures != 0;
}
