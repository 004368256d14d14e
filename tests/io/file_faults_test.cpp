// Files where things go wrong: simulated disks that are slow or full or broken or lose power; kernels without requests.
#include <doctest/doctest.h>
#include <runnel/blocking.hpp>
#include <runnel/context.hpp>
#include <runnel/directory.hpp>
#include <runnel/file_paths.hpp>
#include <runnel/metrics.hpp>
#include <runnel/testing.hpp>
#include <runnel/testing_files.hpp>

#include <atomic>
#include <cstdio>
#include <optional>
#include <string>
#include <vector>

#include "folder.hpp"
#include "support/dies.hpp"
#include "support/level.hpp"
#include "tools.hpp"

namespace testing = runnel::testing;
using namespace test;
using testing::expect;

namespace {

template <class F>
void explored(F body) {
    const auto all = testing::explore(support::scaled(200U, 10'000U), body);
    CHECK_MESSAGE(all.ok(), all.what());
}

std::span<std::byte> room(std::string& text) { return std::as_writable_bytes(std::span(text)); }
rn::open_options made() { return rn::open_options().read().write().create(); }

TEST_CASE("simulated files: reads and writes that are cut short are put together again") {
    explored([]() -> rn::task<> {
        const std::string text = pattern(3000);
        auto file = co_await rn::file::open("a", made());
        const rn::transfer written = co_await file->write_at(text, 0);
        expect(written && written.bytes == 3000, "all is written");
        std::string back(3000, '?');
        const rn::transfer read = co_await file->read_at(room(back), 0);
        expect(read && back == text, "all is read");
        std::string all;
        while (auto chunk = co_await file->recv()) all += chunk->text();
        expect(all == text && file->position() == 3000, "by pieces");
    });
}

TEST_CASE("simulated files: an error tells how much was moved before it") {
    explored([]() -> rn::task<> {
        auto file = co_await rn::file::open("a", made());
        const std::string text = pattern(500);
        expect(static_cast<bool>(co_await file->write_at(text, 0)), "whole");
        testing::use_disk(testing::disk().read_errors(4).write_errors(4));
        std::string back(500, '?');
        const rn::transfer read = co_await file->read_at(room(back), 0);
        expect(read || read.error == std::errc::io_error, "EIO");
        expect(read.bytes == 500 || !read, "short only with an error");
        expect(back.substr(0, read.bytes) == text.substr(0, read.bytes), "what was read");
        expect(back.substr(read.bytes) == std::string(500 - read.bytes, '?'), "and no more");
        const rn::transfer written = co_await file->write_at(std::string_view(text), 500);
        testing::use_disk(testing::disk());
        const auto status = co_await file->status();
        expect(status->size == 500 + written.bytes, "what was written");
    });
}

TEST_CASE("simulated files: a full disk takes what it has room for, and takes more when a file is gone") {
    explored([]() -> rn::task<> {
        testing::use_disk(testing::disk().capacity(1000));
        auto file = co_await rn::file::open("a", made());
        const rn::transfer written = co_await file->write_all(pattern(1500));
        expect(written.bytes == 1000 && written.error == std::errc::no_space_on_device, "1000 of 1500");
        expect((co_await file->allocate(0, 2000)).error() == std::errc::no_space_on_device, "nor room");
        const rn::result<> replaced = co_await rn::replace_file("b", "x");
        expect(replaced.error() == std::errc::no_space_on_device, "nothing else");
        expect((co_await rn::stat_file("b")).error() == std::errc::no_such_file_or_directory, "none");
        auto root = co_await rn::directory::open("/");
        std::string names;
        while (auto entry = co_await root->next()) names += entry->name + " ";
        expect(names == "a tmp ", "and no file is left of the attempt");
        file->close();
        expect((co_await rn::remove_file("a")).has_value(), "removed");
        expect((co_await rn::replace_file("b", "x")).has_value(), "there is room");
    });
}

TEST_CASE("simulated files: without a descriptor left open is an error") {
    explored([]() -> rn::task<> {
        testing::use_disk(testing::disk().descriptors(1));
        auto one = co_await rn::file::open("a", made());
        auto other = co_await rn::file::open("b", made());
        expect(other.error() == std::errc::too_many_files_open, "EMFILE");
        one->close();
        expect((co_await rn::file::open("b", made())).has_value(), "again");
    });
}

TEST_CASE("simulated files: operations take time, and a time limit ends them with nothing done") {
    explored([]() -> rn::task<> {
        testing::use_disk(testing::disk().latency(1s, 1s));
        auto file = co_await rn::file::open("a", made());
        const auto start = rn::clock::now();
        const rn::transfer late = co_await rn::with_timeout(10ms, file->write_at("x", 0));
        expect(late.error == rn::errc::timed_out && late.bytes == 0, "timed out");
        expect(rn::clock::now() - start == 10ms, "at once");
        expect((co_await file->status())->size == 0, "nothing done");
        auto slow = co_await rn::with_timeout(10ms, rn::file::open("b", made()));
        expect(slow.error() == rn::errc::timed_out, "open, too");
    });
}

TEST_CASE("simulated files: cancelled on its way an operation is done or not, and says which") {
    explored([]() -> rn::task<> {
        auto file = co_await rn::file::open("a", made());
        rn::cancellable some = rn::with_cancel(rn::background());
        const auto write = [&]() -> rn::task<rn::transfer> {
            co_return co_await rn::with_context(some.ctx, file->write_at("abc", 0));
        };
        auto writing = rn::go(write);
        co_await rn::sleep_for(std::chrono::microseconds(testing::choose(4) * 300));
        some.cancel();
        const rn::transfer written = (co_await writing).value();
        expect(written || written.error == rn::errc::cancelled, "cancelled");
        expect((co_await file->status())->size == written.bytes, "as it says");
    });
}

// --- Crashes ---------------------------------------------------------------------------------------

TEST_CASE("replace_file: a crash at any time leaves the old content or the new one, and once it has returned "
          "the new one") {
    explored([]() -> rn::task<> {
        expect((co_await rn::replace_file("/tmp/state", pattern(300, 1))).has_value(), "the old one");
        bool said = false;
        const auto replace = [&said]() -> rn::task<> {
            const rn::result<> done = co_await rn::replace_file("/tmp/state", pattern(200, 2));
            said = done.has_value();
        };
        auto replacing = rn::go(replace);
        co_await rn::sleep_for(std::chrono::microseconds(testing::choose(40) * 250));
        const bool was_said = said;
        testing::crash_disk();
        co_await replacing;
        const auto left = co_await rn::read_file("/tmp/state");
        expect(left.has_value(), "there is one");
        expect(*left == pattern(300, 1) || *left == pattern(200, 2), "whole");
        if (was_said) expect(*left == pattern(200, 2), "the new one");
    });
}

TEST_CASE("crash_disk: what was not synced is by chance there, and what was open is not any more") {
    unsigned lost = 0, kept = 0;
    const auto all = testing::explore(200, [&]() -> rn::task<> {
        auto file = co_await rn::file::open("a", made());
        expect(static_cast<bool>(co_await file->write_all("safe")), "written");
        expect((co_await file->sync()).has_value(), "synced");
        expect((co_await rn::sync_directory("/")).has_value(), "and its name");
        expect(static_cast<bool>(co_await file->write_all(" or not")), "more");
        testing::crash_disk();
        expect((co_await file->write_all("x")).error == std::errc::io_error, "lost");
        const auto text = co_await rn::read_file("a");
        expect(text && (*text == "safe" || *text == "safe or not"), "the one or the other");
        ++(*text == "safe" ? lost : kept);
    });
    CHECK_MESSAGE(all.ok(), all.what());
    CHECK(lost > 0);
    CHECK(kept > 0);
}

// --- What is real and what is not --------------------------------------------------------------------

TEST_CASE("simulated files: the system's files are out of reach, and one that is used aborts") {
    const folder here;
    {
        std::FILE* real = std::fopen((here.path() + "/real").c_str(), "w");
        REQUIRE(real != nullptr);
        std::fclose(real);
    }
    explored([&]() -> rn::task<> {
        const auto real = co_await rn::stat_file(here.path() + "/real");
        expect(real.error() == std::errc::no_such_file_or_directory, "it is not there");
    });
    auto real = run_on(
        1,
        [](std::string path) -> rn::task<rn::result<rn::file>> { co_return co_await rn::file::open(path); },
        here.path() + "/real");
    REQUIRE(real);
    const auto misuse = [&] {
        (void)testing::simulate(testing::options(), [&]() -> rn::task<> { (void)co_await real->status(); });
    };
    CHECK(support::dies(misuse, "a real file"));
}

TEST_CASE("simulated files: the same seed gives the same run") {
    const auto body = []() -> rn::task<> {
        testing::use_disk(testing::disk().write_errors(5));
        const auto one = [](std::string name) -> rn::task<> { (void)co_await rn::replace_file(name, name); };
        rn::task_set all;
        for (int i = 0; i < 8; ++i) all.spawn(one, std::string("file"));
        co_await all.join();
    };
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
        const auto how = testing::options().seed(seed);
        const auto first = testing::simulate(how, body);
        CHECK_MESSAGE(first.ok(), first.what());
        CHECK(first.hash() == testing::simulate(how, body).hash());
    }
}

TEST_CASE("leaks: a file that is left open is told with the place that opened it") {
    const auto run = testing::simulate(testing::options(), []() -> rn::task<> {
        static std::optional<rn::file> left;
        auto file = co_await rn::file::open("a", made());
        left = std::move(*file);
    });
    CHECK(run.kind() == testing::failure::leak);
    CHECK(run.what().find("1 file ") != std::string::npos);
    CHECK(run.what().find("file_faults_test.cpp") != std::string::npos);
}

// --- Kernels that lack requests ----------------------------------------------------------------------

void hold_thread(std::atomic<bool>& begun, const std::atomic<bool>& go_on) {
    begun = true;
    go_on.wait(false);
}

/// The driver has been at its messages: what arrives comes by it.
rn::task<> let_driver_pass() {
    stream_pair ends = co_await connected_pair();
    const auto read = [&]() -> rn::task<> { (void)co_await ends.second.recv(); };
    auto reading = rn::go(read);
    co_await rn::yield();
    CHECK(co_await ends.first.write_all("x"));
    co_await reading;
}

rn::task<> do_everything(std::string dir) {
    const std::string path = dir + "/a", text = pattern(100'000);
    CHECK(co_await rn::replace_file(path, text));
    CHECK((co_await rn::read_file(path)).value() == text);
    auto file = (co_await rn::file::open(path, made())).value();
    CHECK(co_await file.truncate(10));
    CHECK(co_await file.allocate(0, 20));
    CHECK((co_await file.status()).value().size == 20);
    CHECK(co_await rn::make_directory(dir + "/d"));
    CHECK(co_await rn::make_link(path, dir + "/d/b"));
    CHECK(co_await rn::make_symbolic_link("b", dir + "/d/s"));
    CHECK((co_await rn::read_link(dir + "/d/s")).value() == "b");
    CHECK(co_await rn::rename_file(dir + "/d/b", dir + "/c"));
    CHECK(co_await rn::remove_file(dir + "/d/s"));
    CHECK(co_await rn::remove_directory(dir + "/d"));
    CHECK((co_await rn::stat_file(dir + "/d")).error() == std::errc::no_such_file_or_directory);
}

TEST_CASE("ring: what its kernel has no request for is called by a thread instead") {
    // 0: no request at all. 18: as in Linux 5.6, but without open and its like. 36: as in 5.11. 256: all there are.
    for (const unsigned known : {0U, 18U, 36U, 256U}) {
        CAPTURE(known);
        const folder here;
        rn::detail::ring_options ring;
        ring.operations_known = known;
        rn::runtime runtime(with_ring(ring, 2));
        runtime.spawn(do_everything, here.path()).wait().value();
        if (known == 0) CHECK(runtime.metrics().blocking_calls > 10);
    }
}

TEST_CASE("pool: operations that are cancelled before a thread has begun are not done") {
    const folder here;
    rn::runtime runtime(rn::options().workers(1).blocking_threads(1).driver(rn::driver_kind::epoll));
    runtime
        .spawn(
            [](std::string dir) -> rn::task<> {
                std::atomic<bool> begun{false}, go_on{false};
                const auto hold = [&]() -> rn::task<> {
                    co_await rn::blocking(hold_thread, rn::borrow(begun), rn::borrow(go_on));
                };
                auto held = rn::go(hold);
                while (!begun) co_await rn::yield();
                rn::cancellable some = rn::with_cancel(rn::background());
                const auto make = [&]() -> rn::task<std::error_code> {
                    auto file = co_await rn::with_context(some.ctx, rn::file::open(dir + "/a", made()));
                    co_return file.error();
                };
                auto making = rn::go(make);
                for (int i = 0; i < 10; ++i) co_await rn::yield();
                some.cancel();
                co_await let_driver_pass();
                go_on = true;
                go_on.notify_all();
                CHECK((co_await making).value() == rn::errc::cancelled);
                co_await held;
                CHECK((co_await rn::stat_file(dir + "/a")).error() == std::errc::no_such_file_or_directory);
            },
            here.path())
        .wait()
        .value();
}
}
