// The code of docs/embedding.md, compiled and run.
#include <runnel/channel.hpp>
#include <runnel/driven_runtime.hpp>
#include <runnel/time.hpp>

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <string>

namespace rn = runnel;
using namespace std::chrono_literals;

// --- In a loop that watches descriptors -------------------------------------------------------------

/// The program's own loop, here the smallest: a button, and the tasks.
void run_loop(int button, rn::driven_runtime& tasks, rn::sender<int> clicks) {
    pollfd watched[] = {{button, POLLIN, 0}, {tasks.poll_fd(), POLLIN, 0}};
    for (tasks.poll(); clicks; ::poll(watched, 2, -1)) {  // once to begin; then when there is something to do
        if (watched[0].revents != 0) {
            std::uint64_t times = 0;
            (void)!::read(button, &times, sizeof times);
            (void)clicks.try_send(static_cast<int>(times));  // this is no task: it must not wait
            if (clicks.closed()) clicks.reset();
        }
        if (watched[1].revents != 0) tasks.poll();
    }
}

rn::task<> follow(rn::receiver<int> clicks, int& clicked) {
    while (auto times = co_await rn::with_timeout(10s, clicks.recv()))
        if (clicked += *times; clicked >= 3) co_return;
}  // the last receiver is gone: the channel closes

// --- In a loop that takes no descriptors ------------------------------------------------------------

void run_frames(rn::driven_runtime& tasks, const bool& done) {
    while (!done) {
        const auto next = tasks.poll(1000);  // at most so many turns in one frame
        ::poll(nullptr, 0, next > 16ms ? 16 : static_cast<int>(next / 1ms));  // draws the frame
    }
}

rn::task<> animate(bool& done) {
    co_await rn::sleep_for(5ms);
    done = true;
}

// --- Several runtimes -------------------------------------------------------------------------------

rn::task<> work(rn::receiver<int> jobs, rn::sender<std::string> answers) {
    while (auto job = co_await jobs.recv()) {
        auto sent = co_await answers.send(std::to_string(*job));
        if (!sent) co_return;
    }
}

rn::task<> ask(rn::sender<int> jobs, rn::receiver<std::string> answers, std::string& got) {
    auto sent = co_await jobs.send(42);
    if (sent) got = (co_await answers.recv()).value_or("none");
}

std::string ask_the_workers() {
    rn::runtime workers;        // threads for what takes long
    rn::driven_runtime window;  // tasks of this thread
    auto [jobs, to_do] = rn::make_channel<int>(16);
    auto [answers, answered] = rn::make_channel<std::string>(16);
    std::string got;
    workers.spawn(work, std::move(to_do), std::move(answers));
    window.spawn(ask, std::move(jobs), std::move(answered), rn::borrow(got));
    pollfd watched{window.poll_fd(), POLLIN, 0};
    for (window.poll(); got.empty(); window.poll()) ::poll(&watched, 1, -1);
    return got;
}

int main() {
    const int button = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int clicked = 0;
    {
        rn::driven_runtime tasks;
        auto [out, in] = rn::make_channel<int>(8);
        tasks.spawn(follow, std::move(in), rn::borrow(clicked));
        rn::runtime user(rn::options().workers(1));
        user.spawn(
            [](int to) -> rn::task<> {
                const std::uint64_t once = 1;
                while (co_await rn::sleep_for(1ms)) (void)!::write(to, &once, sizeof once);
            },
            button);
        run_loop(button, tasks, std::move(out));
    }
    ::close(button);
    bool done = false;
    rn::driven_runtime tasks;
    tasks.spawn(animate, rn::borrow(done));
    run_frames(tasks, done);
    const std::string got = ask_the_workers();
    std::printf("%d clicks, answer %s\n", clicked, got.c_str());
    return clicked >= 3 && done && got == "42" ? 0 : 1;
}
