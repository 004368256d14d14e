// The code of docs/cancellation.md, compiled and run.
#include <runnel/after_func.hpp>
#include <runnel/blocking.hpp>
#include <runnel/channel.hpp>
#include <runnel/context.hpp>
#include <runnel/go.hpp>
#include <runnel/scope.hpp>
#include <runnel/stop_token.hpp>
#include <runnel/sync.hpp>
#include <runnel/testing.hpp>
#include <runnel/time.hpp>

#include <cstdio>
#include <string>
#include <vector>

namespace rn = runnel;
using namespace std::chrono_literals;

// --- Limits ----------------------------------------------------------------------------------------

rn::task<rn::result<int>> ask(rn::sender<int> questions, rn::receiver<int> answers) {
    auto asked = co_await rn::with_timeout(1s, questions.send(42));  // of one operation
    if (!asked) co_return asked.error();                             // timed_out: this limit
    co_return co_await answers.recv();
}

rn::task<rn::result<int>> ask_in_time(rn::sender<int> questions, rn::receiver<int> answers) {
    auto all_of_it = ask(std::move(questions), std::move(answers));
    co_return co_await rn::with_timeout(5s, std::move(all_of_it));  // of all that it waits for
}

// --- Cancelling ------------------------------------------------------------------------------------

rn::task<std::error_code> work_until_told() {
    for (auto slept = co_await rn::sleep_for(10ms); slept;)  // false: the context of this task is cancelled
        slept = co_await rn::sleep_for(10ms);
    co_return rn::current_context().cause();  // why
}

rn::task<std::error_code> tell() {
    auto [ctx, cancel] = rn::with_cancel(rn::current_context());
    auto worker = rn::go(
        [](rn::context under) -> rn::task<std::error_code> {
            co_return co_await rn::with_context(under, work_until_told());
        },
        ctx);
    (void)co_await rn::sleep_for(1s);
    cancel(make_error_code(std::errc::connection_aborted));  // by any task or thread, with a cause
    auto why = co_await worker;
    co_return *why;
}

// --- Nothing is lost -------------------------------------------------------------------------------

rn::task<> deliver(rn::sender<std::string> out, std::vector<std::string>& undelivered) {
    for (std::string letter : {"first", "second", "third"}) {
        auto sent = co_await out.send(rn::from(letter));
        if (!sent) undelivered.push_back(std::move(letter));  // not sent, so it is still ours
    }
}

// --- Other contexts, and std::stop_token ------------------------------------------------------------

rn::task<> answer_one(rn::context request, rn::context server, int& given_up) {
    const auto both = rn::merged(request, server);  // cancelled when either is, by its cause
    rn::later undo = rn::after_func(
        both.ctx,
        [](int& count) -> rn::task<> {  // a task of its own, which may wait: it is not cancelled
            (void)co_await rn::sleep_for(1ms);
            ++count;
        },
        rn::borrow(given_up));
    auto work = rn::with_context(both.ctx, rn::sleep_for(1s));
    const auto done = co_await std::move(work);
    if (done) undo.stop();  // says whether it came before the cancel
}

bool crunch(std::stop_token asked) { return !asked.stop_requested(); }  // knows nothing of contexts

rn::task<> both_worlds(std::stop_token token) {
    const rn::stop_token_context told(token);  // told.ctx() is cancelled when somebody asks the token
    const rn::context_stop_token tell(told.ctx());
    auto work = rn::with_context(told.ctx(), rn::blocking(crunch, tell.token()));
    (void)co_await std::move(work);
}

// --- At the end ------------------------------------------------------------------------------------

struct journal {
    rn::mutex lock;
    std::vector<std::string> lines;
};

rn::task<> write_down(journal& to, std::string line) {
    auto held = co_await to.lock.lock();
    if (held) to.lines.push_back(std::move(line));
}

rn::task<> session(journal& log) {
    (void)co_await rn::sleep_for(1h);                               // ends early when it is cancelled
    co_await rn::shielded(write_down(log, "the session is over"));  // and this is done all the same
}

// ---------------------------------------------------------------------------------------------------

namespace {
rn::task<> everything() {
    auto [questions, unread] = rn::make_channel<int>(1);
    auto [unanswered, answers] = rn::make_channel<int>(1);
    auto answer = co_await ask_in_time(questions.share(), answers.share());
    rn::testing::expect(answer.error() == rn::errc::timed_out, "nobody answers");
    answer = co_await ask(questions.share(), answers.share());
    rn::testing::expect(answer.error() == rn::errc::timed_out, "nobody reads");

    const std::error_code why = co_await tell();
    rn::testing::expect(why == std::errc::connection_aborted, "the cause");

    std::vector<std::string> undelivered;
    auto [out, in] = rn::make_channel<std::string>(1);
    rn::task_set postmen;
    postmen.spawn(deliver, std::move(out), rn::borrow(undelivered));
    co_await rn::testing::wait_until_all_tasks_wait();
    postmen.cancel();
    (void)co_await postmen.join();
    rn::testing::expect(undelivered.size() == 2 && in.len() == 1, "nothing is lost");

    int given_up = 0;
    const auto server = rn::with_cancel(rn::background());
    rn::task_set answers_under_way;
    answers_under_way.spawn(answer_one, rn::background(), server.ctx, rn::borrow(given_up));
    answers_under_way.spawn(answer_one, rn::with_timeout(rn::background(), 1ms).ctx, server.ctx,
                            rn::borrow(given_up));
    (void)co_await rn::sleep_for(100ms);
    rn::testing::expect(given_up == 1, "the request is over");
    server.cancel();
    (void)co_await answers_under_way.join();
    (void)co_await rn::sleep_for(100ms);
    rn::testing::expect(given_up == 2, "the server is");
    co_await both_worlds(std::stop_token());

    journal log;
    rn::task_set sessions;
    sessions.spawn(session, rn::borrow(log));
    co_await rn::testing::wait_until_all_tasks_wait();
    sessions.cancel();
    (void)co_await sessions.join();
    rn::testing::expect(log.lines.size() == 1, "shielded");
}
}

int main() {
    const auto all = rn::testing::explore(200, everything);
    if (!all.ok()) std::puts(all.what().c_str());
    return all.ok() ? 0 : 1;
}
