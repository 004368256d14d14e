// What happens in a folder, as the kernel tells it.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <runnel/file_watch.hpp>
#include <runnel/pipe.hpp>
#include <runnel/select.hpp>
#include <runnel/testing.hpp>

#include "descriptors.hpp"
#include "loopback.hpp"
#include "support/child.hpp"

using namespace test;

namespace {

class watched_folder {
public:
    watched_folder() { REQUIRE(mkdtemp(path_) != nullptr); }
    ~watched_folder() {
        for (const char* each : {"/a", "/b"}) std::remove((path_ + std::string(each)).c_str());
        std::remove(path_);
    }
    watched_folder(const watched_folder&) = delete;
    watched_folder& operator=(const watched_folder&) = delete;
    std::string path() const { return path_; }
    std::string file(const char* name) const { return path() + "/" + name; }
    void make(const char* name) const {
        close(open(file(name).c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    }
    void move(const char* from, const char* to) const {
        CHECK(rename(file(from).c_str(), file(to).c_str()) == 0);
    }
    void remove(const char* name) const { CHECK(unlink(file(name).c_str()) == 0); }

private:
    char path_[32] = "/tmp/runnel-test-XXXXXX";
};

using event = rn::file_event;
}

TEST_CASE("file_watch: tells what happens in a folder, in order and with both halves of a move") {
    const nothing_left after;
    const auto look = []() -> rn::task<> {
        const watched_folder folder;
        rn::file_watch watch = rn::file_watch::make().value();
        const int number =
            watch.add(folder.path(), event::created | event::moved_out | event::moved_in | event::removed)
                .value();
        folder.make("a");
        folder.move("a", "b");
        folder.remove("b");
        const auto made = co_await watch.next();
        CHECK(made->has(event::created));
        CHECK(made->path == folder.file("a"));
        CHECK(made->watch == number);
        const auto out = co_await watch.next();
        const auto in = co_await watch.next();
        CHECK(out->has(event::moved_out));
        CHECK(in->has(event::moved_in));
        CHECK(in->path == folder.file("b"));
        CHECK(out->cookie == in->cookie);
        CHECK(out->cookie != 0);
        const auto gone = co_await watch.next();
        CHECK(gone->has(event::removed));
        const auto late = co_await rn::with_timeout(2ms, watch.next());
        CHECK(late.error() == rn::errc::timed_out);
        folder.make("a");
        const auto again = co_await watch.next();
        CHECK(again->path == folder.file("a"));
    };
    CHECK(run_on(1, look));
}

TEST_CASE(
    "file_watch: the next event is a select case, and no event is lost by a select that takes another") {
    const nothing_left after;
    const auto look = []() -> rn::task<> {
        const watched_folder folder;
        rn::file_watch watch = rn::file_watch::make().value();
        CHECK(watch.add(folder.path(), event::created | event::removed));
        for (int i = 0; i < 20; ++i) {
            auto none = co_await rn::select(watch.next(), rn::sleep_for(100us));
            CHECK(none.index() == 1);
            folder.make("a");
            folder.remove("a");
            auto made = co_await rn::select(rn::sleep_for(1h), watch.next());
            CHECK(made.get<1>()->has(event::created));
            auto gone = rn::try_select(watch.next());  // it has come with the other
            REQUIRE(gone);
            CHECK(gone.get<0>()->has(event::removed));
        }
        auto waits = rn::go(
            [](rn::file_watch& of) -> rn::task<std::error_code> {
                auto ended = co_await rn::select(of.next(), rn::sleep_for(1h));
                co_return ended.get<0>().error();
            },
            rn::borrow(watch));
        CHECK(co_await rn::yield());
        watch.close();
        const auto ended = co_await waits;
        CHECK(ended.value() == rn::errc::closed);
    };
    CHECK(run_on(1, look));
}

TEST_CASE("file_watch: a task that waits is woken by what happens then; remove() and close() end it") {
    const nothing_left after;
    const auto look = []() -> rn::task<> {
        const watched_folder folder;
        rn::file_watch watch = rn::file_watch::make().value();
        const int number = watch.add(folder.path(), event::created).value();
        const auto next = [](rn::file_watch& of) -> rn::task<rn::result<event>> {
            co_return co_await of.next();
        };
        auto waits = rn::go(next, rn::borrow(watch));
        CHECK(co_await rn::sleep_for(1ms));
        folder.make("a");
        const auto made = co_await waits;
        CHECK(made->path == folder.file("a"));
        CHECK(watch.remove(number));
        const auto ended = co_await watch.next();
        CHECK(ended->has(event::watch_ended));
        CHECK(watch.remove(number).error() == std::errc::invalid_argument);
        auto last = rn::go(next, rn::borrow(watch));
        CHECK(co_await rn::sleep_for(1ms));
        watch.close();
        const auto closed = co_await last;
        CHECK(closed.error() == rn::errc::closed);
    };
    CHECK(run_on(1, look));
}

TEST_CASE("file_watch: when more happens than the kernel keeps an event says so") {
    const auto look = []() -> rn::task<> {
        const watched_folder folder;
        folder.make("a");
        folder.make("b");
        std::FILE* const limit = std::fopen("/proc/sys/fs/inotify/max_queued_events", "r");
        int most = 0;
        if (limit == nullptr || std::fscanf(limit, "%d", &most) != 1) most = 0;
        if (limit != nullptr) std::fclose(limit);
        if (most <= 0 || most > 50'000) {
            MESSAGE("skipped: the kernel's limit is not known, or too far away");
            co_return;
        }
        rn::file_watch watch = rn::file_watch::make().value();
        CHECK(watch.add(folder.path(), event::attributes));
        for (int i = 0; i <= most; ++i) chmod(folder.file(i % 2 == 0 ? "a" : "b").c_str(), 0600);
        int events = 0;
        for (bool lost = false; !lost; ++events) {
            const auto each = co_await watch.next();
            lost = each.value().lost();
        }
        CHECK(events == most + 1);
    };
    CHECK(run_on(1, look));
}

TEST_CASE("file_watch: what is not there cannot be watched") {
    rn::file_watch watch = rn::file_watch::make().value();
    CHECK(watch.add("/no/such/folder").error() == std::errc::no_such_file_or_directory);
}

TEST_CASE("child: a file watch in a simulation" * doctest::skip()) {
    (void)rn::testing::simulate(rn::testing::options(), []() -> rn::task<> {
        (void)rn::file_watch::make();
        co_return;
    });
}
TEST_CASE("child: a descriptor in a simulation" * doctest::skip()) {
    (void)rn::testing::simulate(rn::testing::options(), []() -> rn::task<> {
        (void)rn::pipe_reader::own(0);
        co_return;
    });
}
TEST_CASE("file_watch: a simulation has no files and no descriptors, and says so") {
    CHECK(support::aborts_saying("child: a file watch in a simulation", "a simulation has no files"));
    CHECK(support::aborts_saying("child: a descriptor in a simulation", "no descriptors of the system"));
}
