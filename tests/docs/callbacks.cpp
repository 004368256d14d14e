// The code of docs/callbacks.md, compiled and run.
#include <runnel/block_on.hpp>
#include <runnel/blocking.hpp>
#include <runnel/channel.hpp>
#include <runnel/context.hpp>
#include <runnel/go.hpp>
#include <runnel/oneshot.hpp>
#include <runnel/runtime.hpp>
#include <runnel/testing.hpp>
#include <runnel/time.hpp>

#include <atomic>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>

namespace rn = runnel;
using namespace std::chrono_literals;

// --- Two C libraries with threads of their own, as they are ----------------------------------------

// The callback is called again and again, until it returns something else than 0 or the sensor is closed.
struct sensor;
extern "C" {
sensor* sensor_open(int (*on_reading)(void* user, int value), void* user);
void sensor_close(sensor* which);  // returns when no callback runs any more
}

// The callback is called once for each request, with a status other than 0 when that was cancelled.
extern "C" {
int store_get(int key, void (*on_reply)(void* user, int status, int value), void* user);
void store_cancel(int request);  // asks only, and may come too late
}

struct sensor {
    std::atomic<bool> closed{false};
    std::thread thread;
};
sensor* sensor_open(int (*on_reading)(void*, int), void* user) {
    auto* made = new sensor;
    made->thread = std::thread([=] {
        for (int value = 1; !made->closed && on_reading(user, value) == 0; ++value)
            std::this_thread::sleep_for(10us);
    });
    return made;
}
void sensor_close(sensor* which) {
    which->closed = true;
    which->thread.join();
    delete which;
}

namespace {
/// Replies with the double of the key; to a negative one only when that is cancelled.
class store {
public:
    ~store() {
        {
            const std::lock_guard guard(lock_);
            over_ = true;
        }
        changed_.notify_all();
        thread_.join();
    }
    int get(int key, void (*on_reply)(void*, int, int), void* user) {
        const std::lock_guard guard(lock_);
        requests_.push_back({++last_, key, false, on_reply, user});
        changed_.notify_all();
        return last_;
    }
    void cancel(int number) {
        const std::lock_guard guard(lock_);
        for (request& each : requests_) each.cancelled = each.cancelled || each.number == number;
        changed_.notify_all();
    }

private:
    struct request {
        int number, key;
        bool cancelled;
        void (*on_reply)(void*, int, int);
        void* user;
        bool can_end() const { return cancelled || key >= 0; }
    };
    void reply() {
        std::unique_lock guard(lock_);
        while (!over_) {
            auto next = requests_.begin();
            while (next != requests_.end() && !next->can_end()) ++next;
            if (next == requests_.end()) {
                changed_.wait(guard);
                continue;
            }
            const request done = *next;
            requests_.erase(next);
            guard.unlock();
            done.on_reply(done.user, done.cancelled ? -1 : 0, 2 * done.key);
            guard.lock();
        }
    }

    std::mutex lock_;
    std::condition_variable changed_;
    std::deque<request> requests_;
    int last_ = 0;
    bool over_ = false;
    std::thread thread_{[this] { reply(); }};
};
store& the_store() {
    static store one;
    return one;
}
}

int store_get(int key, void (*on_reply)(void*, int, int), void* user) {
    return the_store().get(key, on_reply, user);
}
void store_cancel(int request) { the_store().cancel(request); }

// --- Values that come again and again --------------------------------------------------------------

int on_reading(void* user, int value) {
    auto sent = static_cast<rn::sender<int>*>(user)->try_send(value);
    if (!sent && sent.error() != rn::errc::full) return 1;  // closed: nobody wants more
    return 0;                                               // full: this one is lost, the next may not be
}

rn::task<int> sum_of_readings(int count) {
    auto [out, in] = rn::make_channel<int>(16);
    sensor* const opened = sensor_open(on_reading, &out);
    int sum = 0;
    for (int i = 0; i < count; ++i) {
        auto value = co_await in.recv();
        if (!value) break;  // this task is cancelled
        sum += *value;
    }
    in.reset();  // from now on the callback finds it closed
    co_await rn::shielded(rn::blocking(sensor_close, opened));
    co_return sum;  // `out` dies after the last callback
}

// --- One answer ------------------------------------------------------------------------------------

using waiting = rn::oneshot_sender<int>;

void on_reply(void* user, int status, int value) {
    const std::unique_ptr<waiting> to(static_cast<waiting*>(user));
    if (status == 0) (void)std::move(*to).send(std::move(value));  // false: nobody waits any more
}  // not sent: who waits is told so, with errc::closed

rn::task<rn::result<int>> get(int key) {
    auto [to, answer] = rn::make_oneshot<int>();
    const int request = store_get(key, on_reply, new waiting(std::move(to)));
    auto value = co_await answer;
    if (!value) store_cancel(request);  // cancelled, or too late: the answer is of no use any more
    co_return value;
}

// --- Memory that is lent ---------------------------------------------------------------------------

struct borrowed_reply {
    int value = 0;
    rn::oneshot_sender<int> status;
};

void write_reply(void* user, int status, int value) {
    auto* const to = static_cast<borrowed_reply*>(user);
    to->value = value;
    (void)std::move(to->status).send(std::move(status));  // `*to` may be gone after this
}

rn::task<rn::result<int>> get_into_this_frame(int key) {
    auto [to, answer] = rn::make_oneshot<int>();
    borrowed_reply reply;
    reply.status = std::move(to);
    const int request = store_get(key, write_reply, &reply);
    auto status = co_await answer;
    if (!status) {
        store_cancel(request);
        auto ended =
            co_await rn::shielded(answer);  // the callback comes all the same: `reply` has to be here
        if (!ended || *ended != 0) co_return status.error();
    }
    co_return reply.value;
}

// --- A place for every answer ----------------------------------------------------------------------

using place = rn::send_permit<int>;

void on_result(void* user, int, int value) {
    const std::unique_ptr<place> to(static_cast<place*>(user));
    (void)to->send(std::move(value));  // it has a place: it cannot find the channel full
}

rn::task<> get_all(int count, rn::sender<int> results) {
    for (int key = 0; key < count; ++key) {
        auto reserved = co_await results.reserve();  // so many are on their way, or have not been received
        if (!reserved) co_return;
        store_get(key, on_result, new place(*std::move(reserved)));
    }
}  // the channel is closed when the last answer has come

rn::task<int> sum_of_all(int count) {
    auto [results, in] = rn::make_channel<int>(4);
    rn::go(get_all, count, std::move(results));
    int sum = 0;
    while (auto value = co_await in.recv()) sum += *value;
    co_return sum;
}

// --- A thread that may wait ------------------------------------------------------------------------

int wait_for_room(void* user, int value) {
    auto sent = rn::block_on(rn::with_timeout(1s, static_cast<rn::sender<int>*>(user)->send(value)));
    return sent ? 0 : 1;
}

// ---------------------------------------------------------------------------------------------------

namespace {
rn::task<> everything() {
    const int some = co_await sum_of_readings(100);
    rn::testing::expect(some >= 5050, "all readings, or later ones");

    auto answer = co_await get(21);
    rn::testing::expect(answer && *answer == 42, "an answer");
    auto question = get(-1);
    answer = co_await rn::with_timeout(5ms, std::move(question));
    rn::testing::expect(answer.error() == rn::errc::timed_out, "no answer");

    answer = co_await get_into_this_frame(21);
    rn::testing::expect(answer && *answer == 42, "an answer in place");
    auto other = get_into_this_frame(-1);
    answer = co_await rn::with_timeout(5ms, std::move(other));
    rn::testing::expect(answer.error() == rn::errc::timed_out, "no answer in place");

    const int sum = co_await sum_of_all(100);
    rn::testing::expect(sum == 9900, "all answers");

    auto [out, in] = rn::make_channel<int>(1);
    sensor* const opened = sensor_open(wait_for_room, &out);
    for (int i = 1; i <= 100; ++i) {
        auto value = co_await in.recv();
        rn::testing::expect(value && *value == i, "every reading");
    }
    in.reset();
    co_await rn::blocking(sensor_close, opened);
}
}

int main() { return rn::run(everything); }
