// The code of docs/go.md, compiled and run.
#include <runnel/broadcast.hpp>
#include <runnel/channel.hpp>
#include <runnel/context.hpp>
#include <runnel/go.hpp>
#include <runnel/once.hpp>
#include <runnel/race.hpp>
#include <runnel/rate_limiter.hpp>
#include <runnel/result_set.hpp>
#include <runnel/runtime.hpp>
#include <runnel/scope.hpp>
#include <runnel/select.hpp>
#include <runnel/semaphore.hpp>
#include <runnel/shared_mutex.hpp>
#include <runnel/singleflight.hpp>
#include <runnel/sync.hpp>
#include <runnel/testing.hpp>
#include <runnel/time.hpp>

#include <cstdio>
#include <map>
#include <string>
#include <vector>

namespace rn = runnel;
using namespace std::chrono_literals;

// --- Channels --------------------------------------------------------------------------------------

rn::task<> numbers(rn::sender<int> out, int count) {
    for (int i = 1; i <= count; ++i) {
        auto sent = co_await out.send(i);  // out <- i
        if (!sent) co_return;              // closed, or we are cancelled: nobody wants more
    }
}  // close(out): the last sender is gone

rn::task<int> sum_of(int count) {
    auto [out, in] = rn::make_channel<int>(4);  // make(chan int, 4)
    rn::go(numbers, std::move(out), count);     // go numbers(out, count)
    int sum = 0;
    while (auto n = co_await in.recv()) sum += *n;  // for n := range in
    co_return sum;
}

// --- Select ----------------------------------------------------------------------------------------

rn::task<std::string> first_of(rn::receiver<int> ints, rn::receiver<std::string> words) {
    auto won = co_await rn::select(ints.recv(), words.recv(), rn::after(1s));
    if (!won) co_return "cancelled";  // <-ctx.Done() is a case of every wait already
    switch (won.index()) {
        case 0:
            co_return "a number";
        case 1:
            co_return *won.take<1>();
        default:
            co_return "nothing for a second";
    }
}

bool offer(const rn::sender<int>& to, int value) {
    auto won = rn::try_select(to.send(value));  // select { case to <- value: … default: … }
    return won && won.take<0>().has_value();
}

// --- Contexts --------------------------------------------------------------------------------------

inline constexpr rn::context_key<std::string> user;

rn::task<std::string> greet() {
    auto slept = co_await rn::sleep_for(1h);  // ends early when the context of the task does
    const std::string* name = rn::current_context().value(user);
    co_return slept ? "slept well" : "woken, " + *name;
}

rn::task<std::string> greet_in_time() {
    auto named = rn::with_value(rn::current_context(), user, "ada");
    auto [ctx, cancel] = rn::with_timeout(named, 10ms);
    co_return co_await rn::with_context(ctx, greet());  // no parameter is passed through
}

// --- Locks and their like --------------------------------------------------------------------------

class inventory {
public:
    rn::task<int> count(const std::string& of) {
        auto reading = co_await lock_.lock_shared();  // RLock; the guard is the defer RUnlock()
        if (!reading) co_return 0;                    // cancelled while it waited
        co_return items_[of];
    }
    rn::task<> add(const std::string& of, int more) {
        auto writing = co_await lock_.lock();
        if (writing) items_[of] += more;
    }

private:
    rn::shared_mutex lock_;
    std::map<std::string, int> items_;
};

struct server {
    rn::once setup;
    rn::semaphore slots{2};                              // semaphore.NewWeighted(2)
    rn::rate_limiter rate{rn::per_second(1000), 10};     // rate.NewLimiter(1000, 10)
    rn::singleflight<std::string, std::string> flights;  // singleflight.Group
    int calls = 0;
};

rn::task<> prepare(int& calls) {
    calls = 0;
    co_return;
}

rn::task<std::string> fetch(int& calls, std::string url) {
    ++calls;
    (void)co_await rn::sleep_for(1ms);
    co_return "page of " + url;
}

rn::task<std::string> serve(server& of, std::string url) {
    auto ready = co_await of.setup.call(prepare, rn::borrow(of.calls));
    auto turn = co_await of.rate.wait();
    auto slot = co_await of.slots.acquire();  // given back at the end of the scope
    if (!ready || !turn || !slot) co_return "";
    auto page = co_await of.flights.run(url, fetch, rn::borrow(of.calls), url);
    co_return page.value_or("");
}

// --- Groups ----------------------------------------------------------------------------------------

rn::task<rn::result<std::vector<std::string>>> fetch_all(int& calls, std::vector<std::string> urls) {
    rn::result_set<std::string> pages;  // errgroup.WithContext, and a place for what each of them gives
    pages.set_limit(2);                 // g.SetLimit(2)
    for (const auto& url : urls) {
        auto started = co_await pages.when_free().spawn(fetch, rn::borrow(calls), url);  // g.Go
        if (!started) break;  // one has failed, or we are cancelled
    }
    auto all = co_await pages.in_order();  // g.Wait(), and the pages
    co_return all;
}

rn::task<std::string> fetch_from_either(int& calls) {
    auto won = co_await rn::race_ok(fetch(calls, "mirror.one"), fetch(calls, "mirror.two"));
    if (!won) co_return "";  // and won.failures() says why, of each
    if (won.index() == 0) co_return won.get<0>();
    co_return won.get<1>();
}

// --- What Go leaves to you -------------------------------------------------------------------------

rn::task<> count_words(rn::broadcast_receiver<std::string> in, int& words) {
    while (auto word = co_await in.recv()) ++words;  // each receiver gets every message
}

rn::task<int> tell_all() {
    auto [out, in] = rn::make_broadcast<std::string>(8);
    int first = 0;
    int second = 0;
    rn::task_set readers;
    readers.spawn(count_words, in.share(), rn::borrow(first));
    readers.spawn(count_words, std::move(in), rn::borrow(second));
    for (const char* word : {"three", "short", "words"}) (void)co_await out.send(word);
    out.reset();
    (void)co_await readers.join();
    co_return first + second;
}

// ---------------------------------------------------------------------------------------------------

namespace {
rn::task<bool> selects_are_right() {
    auto [out, in] = rn::make_channel<int>(1);
    auto [words_out, words_in] = rn::make_channel<std::string>(1);
    if (!offer(out, 1) || offer(out, 2)) co_return false;
    auto sent = words_out.try_send("word");
    auto number = co_await first_of(in.share(), {});
    auto word = co_await first_of({}, words_in.share());
    auto nothing = co_await first_of({}, {});
    co_return sent&& number == "a number" && word == "word" && nothing == "nothing for a second";
}

rn::task<bool> locks_are_right() {
    inventory stock;
    co_await stock.add("nail", 3);
    const int nails = co_await stock.count("nail");
    server of;
    rn::task_set clients;
    int right = 0;
    for (int i = 0; i < 4; ++i)
        clients.spawn([&]() -> rn::task<> {
            const std::string page = co_await serve(of, "/index");
            right += page == "page of /index";
        });
    (void)co_await clients.join();
    co_return nails == 3 && right == 4 && of.calls < 4;
}

rn::task<bool> groups_are_right() {
    int calls = 0;
    std::vector<std::string> urls{"a", "b", "c"};
    const auto pages = co_await fetch_all(calls, std::move(urls));
    const std::string quickest = co_await fetch_from_either(calls);
    co_return pages.value_or(std::vector<std::string>()).size() == 3 && pages->at(2) == "page of c" &&
        calls >= 4 && quickest.starts_with("page of mirror.");
}

rn::task<> everything() {
    const int sum = co_await sum_of(10);
    rn::testing::expect(sum == 55, "channels");
    const bool selects = co_await selects_are_right();
    rn::testing::expect(selects, "selects");
    const std::string greeting = co_await greet_in_time();
    rn::testing::expect(greeting == "woken, ada", "contexts");
    const bool locks = co_await locks_are_right();
    rn::testing::expect(locks, "locks");
    const bool groups = co_await groups_are_right();
    rn::testing::expect(groups, "groups");
    const int told = co_await tell_all();
    rn::testing::expect(told == 6, "broadcast");
}
}

int main() {
    const auto all = rn::testing::explore(200, everything);  // in virtual time, under 200 schedules
    if (!all.ok()) std::puts(all.what().c_str());
    return all.ok() ? 0 : 1;
}
