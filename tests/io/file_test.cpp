// Files of the real file system, by both drivers: what is read is what was written, and errors are told as they are.
#include <doctest/doctest.h>
#include <runnel/buffered_reader.hpp>
#include <runnel/context.hpp>
#include <runnel/copy.hpp>
#include <runnel/file.hpp>
#include <runnel/file_paths.hpp>

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "folder.hpp"
#include "loopback.hpp"
#include "support/level.hpp"

using namespace test;

namespace {

std::span<std::byte> room(std::string& text) { return std::as_writable_bytes(std::span(text)); }

rn::open_options made() { return rn::open_options().read().write().create(); }

/// Runs it in a folder of its own.
template <class F>
void in_folder(F body) {
    const folder here;
    run_on(1, body, here.path()).value();
}

TEST_CASE("file: what is written at an offset is read there, and the file ends where it was written to") {
    in_folder([](std::string dir) -> rn::task<> {
        auto file = (co_await rn::file::open(dir + "/a", made())).value();
        const rn::transfer written = co_await file.write_at("hello", 3);
        CHECK(written);
        CHECK(written.bytes == 5);
        std::string all(16, '?');
        const rn::transfer read = co_await file.read_at(room(all), 0);
        CHECK(read.error == rn::errc::end_of_stream);  // fewer than asked for
        CHECK(all.substr(0, read.bytes) == std::string("\0\0\0hello", 8));
        std::string some(4, '?');
        const rn::transfer middle = co_await file.read_at(room(some), 4);
        CHECK(middle);
        CHECK(some == "ello");
        const rn::transfer beyond = co_await file.read_at(room(some), 100);
        CHECK(beyond.error == rn::errc::end_of_stream);
        CHECK(beyond.bytes == 0);
    });
}

TEST_CASE("file: several pieces are read and written as one, more than the kernel is given at once") {
    in_folder([](std::string dir) -> rn::task<> {
        auto file = (co_await rn::file::open(dir + "/a", made())).value();
        const std::string text = pattern(1000);
        std::vector<std::span<const std::byte>> from;
        for (std::size_t at = 0; at < text.size(); at += 7)  // 143 pieces, of which some are empty
            from.insert(
                from.end(),
                {std::as_bytes(std::span(text).subspan(at, std::min<std::size_t>(7, text.size() - at))),
                 std::span<const std::byte>()});
        const rn::transfer written = co_await file.write_at(from, 10);
        CHECK(written);
        CHECK(written.bytes == 1000);
        std::string head(300, '?'), tail(900, '?');
        const std::array<std::span<std::byte>, 3> into{room(head), std::span<std::byte>(), room(tail)};
        const rn::transfer read = co_await file.read_at(into, 10);
        CHECK(read.error == rn::errc::end_of_stream);
        CHECK(read.bytes == 1000);
        CHECK(head + tail.substr(0, 700) == text);
        const std::array<std::span<std::byte>, 0> none{};
        CHECK((co_await file.read_at(none, 0)).bytes == 0);
    });
}

TEST_CASE("file: reads and writes by its own position go from the beginning to the end") {
    in_folder([](std::string dir) -> rn::task<> {
        auto file = (co_await rn::file::open(dir + "/a", made())).value();
        CHECK(co_await file.write_all("first "));
        CHECK((co_await file.write_some("second")).bytes == 6);
        CHECK(file.position() == 12);
        file.seek(0);
        std::string all(64, '?');
        CHECK((co_await file.read_some(room(all))).value() == 12);
        CHECK(all.substr(0, 12) == "first second");
        CHECK((co_await file.read_some(room(all))).error() == rn::errc::end_of_stream);
        file.seek(6);
        auto chunk = co_await file.recv();
        CHECK(chunk->text() == "second");
        CHECK((co_await file.recv()).error() == rn::errc::end_of_stream);
        CHECK(file.position() == 12);
    });
}

TEST_CASE("file: operations on no bytes do nothing, and are no end of the file") {
    in_folder([](std::string dir) -> rn::task<> {
        auto file = (co_await rn::file::open(dir + "/a", made())).value();
        CHECK(co_await file.write_at("", 5));
        CHECK(co_await file.write_all(""));
        CHECK(co_await file.read_at(std::span<std::byte>(), 5));
        CHECK((co_await file.read_some({})).value() == 0);
        CHECK((co_await file.status()).value().size == 0);
        file.close();
        CHECK((co_await file.read_some({})).error() == rn::errc::closed);
    });
}

TEST_CASE("file: appended writes go to the end, whatever the offset says, and leave the position alone") {
    in_folder([](std::string dir) -> rn::task<> {
        const rn::open_options how = rn::open_options().read().append().create();
        auto one = (co_await rn::file::open(dir + "/log", how)).value();
        auto other = (co_await rn::file::open(dir + "/log", how)).value();
        CHECK(co_await one.write_all("1a "));
        CHECK(co_await other.write_all("2a "));
        CHECK(co_await one.write_all("1b "));
        CHECK(co_await other.write_at("2b ", 0));
        auto chunk = co_await one.recv();
        CHECK(chunk->text() == "1a 2a 1b 2b ");
    });
}

TEST_CASE("file: to a stream and back by copy, and in lines by a buffered_reader") {
    in_folder([](std::string dir) -> rn::task<> {
        const std::string text = pattern(100'000);
        CHECK(co_await rn::write_file(dir + "/from", text));
        auto from = (co_await rn::file::open(dir + "/from")).value();
        auto to = (co_await rn::file::open(dir + "/to", made())).value();
        stream_pair ends = co_await connected_pair();
        const auto send = [&]() -> rn::task<rn::transfer> { return rn::copy(from, ends.first); };
        auto sent = rn::go(send);
        const rn::transfer received = co_await rn::copy(ends.second, to);
        CHECK(received);
        CHECK(received.bytes == 100'000);
        CHECK((co_await sent)->bytes == 100'000);
        CHECK((co_await rn::read_file(dir + "/to")).value() == text);

        CHECK(co_await rn::write_file(dir + "/lines", "one\ntwo\nlast"));
        auto lines = (co_await rn::file::open(dir + "/lines")).value();
        rn::buffered_reader in(lines);
        CHECK((co_await in.read_line()).value() == "one");
        CHECK((co_await in.read_line()).value() == "two");
        CHECK((co_await in.read_line()).value() == "last");
        CHECK((co_await in.read_line()).error() == rn::errc::end_of_stream);
    });
}

TEST_CASE("file: open says what is wrong") {
    in_folder([](std::string dir) -> rn::task<> {
        const auto error = [](std::string path, const rn::open_options& how) -> rn::task<std::error_code> {
            auto opened = co_await rn::file::open(std::move(path), how);
            co_return opened.error();
        };
        CHECK(co_await error(dir + "/none", {}) == std::errc::no_such_file_or_directory);
        CHECK(co_await error(dir, rn::open_options().write()) == std::errc::is_a_directory);
        CHECK(co_await error(dir + "/a/b", made()) == std::errc::no_such_file_or_directory);
        CHECK(co_await error(dir + "/a", rn::open_options().write().exclusive()) == std::error_code());
        CHECK(co_await error(dir + "/a", rn::open_options().write().exclusive()) == std::errc::file_exists);
        CHECK(co_await error(dir + "/a/b", made()) == std::errc::not_a_directory);
        CHECK(co_await error(std::string("a\0b", 3), made()) == std::errc::invalid_argument);
        CHECK(co_await error("", {}) == std::errc::no_such_file_or_directory);
        CHECK(co_await error(dir + "/a", rn::open_options().truncate()) == std::errc::invalid_argument);
        CHECK(co_await rn::make_symbolic_link("a", dir + "/link"));
        CHECK(co_await error(dir + "/link", rn::open_options().follow_link(false)) ==
              std::errc::too_many_symbolic_link_levels);
        auto folder = (co_await rn::file::open(dir)).value();  // can be opened, but not read
        std::string some(4, '?');
        CHECK((co_await folder.read_some(room(some))).error() == std::errc::is_a_directory);
    });
}

TEST_CASE("file: without permission it is an error") {
    if (geteuid() == 0) {
        std::puts("skipped: root may open everything");
        return;
    }
    in_folder([](std::string dir) -> rn::task<> {
        CHECK(co_await rn::write_file(dir + "/secret", "x", 0));
        auto opened = co_await rn::file::open(dir + "/secret");
        CHECK(opened.error() == std::errc::permission_denied);
    });
}

TEST_CASE("file: a device without room takes nothing and says so") {
    run_on(1, []() -> rn::task<> {
        auto full = (co_await rn::file::open("/dev/full", rn::open_options().write())).value();
        const rn::transfer written = co_await full.write_all("some");
        CHECK(written.error == std::errc::no_space_on_device);
        CHECK(written.bytes == 0);
    }).value();
}

TEST_CASE("file: without a descriptor left open fails at once and works again when there is one") {
    in_folder([](std::string dir) -> rn::task<> {
        CHECK(co_await rn::write_file(dir + "/a", "x"));
        rlimit before{};
        REQUIRE(getrlimit(RLIMIT_NOFILE, &before) == 0);
        const int lowest = dup(0);  // the next number
        ::close(lowest);
        rlimit none = before;
        none.rlim_cur = static_cast<rlim_t>(lowest);
        REQUIRE(setrlimit(RLIMIT_NOFILE, &none) == 0);
        auto refused = co_await rn::file::open(dir + "/a");
        REQUIRE(setrlimit(RLIMIT_NOFILE, &before) == 0);
        CHECK(refused.error() == std::errc::too_many_files_open);
        CHECK(co_await rn::file::open(dir + "/a"));
    });
}

TEST_CASE("file: more than 2 GiB are written in pieces and counted right") {
    run_on(1, []() -> rn::task<> {
        constexpr std::size_t bytes = (std::size_t{2} << 30) + 12345;
        const big_memory memory(bytes);  // which nobody looks at
        auto null = (co_await rn::file::open("/dev/null", rn::open_options().write())).value();
        const rn::transfer written = co_await null.write_at(memory.all(), 0);
        CHECK(written);
        CHECK(written.bytes == bytes);
    }).value();
}

TEST_CASE("file: more than 2 GiB are read in pieces and counted right") {
    static constexpr std::size_t bytes = (std::size_t{2} << 30) + 12345;  // a hole, so it takes no room
    if (support::scaled(0, 1) == 0 || !has_memory(bytes + bytes / 2)) {
        std::puts("skipped: takes 2 GiB of memory, and a second; in the full run only");
        return;
    }
    in_folder([](std::string dir) -> rn::task<> {
        auto file = (co_await rn::file::open(dir + "/hole", made())).value();
        CHECK(co_await file.truncate(bytes));
        CHECK(co_await file.write_at("end", bytes - 3));
        const big_memory memory(bytes);
        const rn::transfer read = co_await file.read_at(memory.all(), 0);
        CHECK(read);
        CHECK(read.bytes == bytes);
        CHECK(std::string(reinterpret_cast<const char*>(&memory.all()[bytes - 3]), 3) == "end");
    });
}

TEST_CASE("file: status tells size and kind and times; truncate and allocate and set_mode change them") {
    in_folder([](std::string dir) -> rn::task<> {
        auto file = (co_await rn::file::open(dir + "/a", made().mode(0600))).value();
        CHECK(co_await file.write_all("12345"));
        CHECK(co_await file.sync_data());
        CHECK(co_await file.sync());
        const auto now = std::chrono::system_clock::now();
        rn::file_status status = (co_await file.status()).value();
        CHECK(status.is_regular());
        CHECK(status.size == 5);
        CHECK(status.mode == 0600);
        CHECK(status.links == 1);
        CHECK(status.owner == geteuid());
        CHECK(status.modified <= now);
        CHECK(status.modified > now - 60s);
        struct stat plain{};
        REQUIRE(stat((dir + "/a").c_str(), &plain) == 0);
        CHECK(status.inode == plain.st_ino);
        CHECK(status.device == plain.st_dev);

        CHECK(co_await file.truncate(2));
        CHECK((co_await file.status()).value().size == 2);
        const auto allocated = co_await file.allocate(0, 8192);
        if (allocated) {
            CHECK((co_await file.status()).value().size == 8192);
            CHECK((co_await file.status()).value().allocated >= 8192);
        } else {
            CHECK(allocated.error() == std::errc::operation_not_supported);
        }
        CHECK(co_await file.set_mode(0640));
        CHECK((co_await rn::stat_file(dir + "/a")).value().mode == 0640);
        CHECK((co_await rn::stat_file(dir)).value().is_directory());
        CHECK((co_await rn::stat_file(dir + "/b")).error() == std::errc::no_such_file_or_directory);
    });
}

TEST_CASE("file: a temporary one has no name, and is gone when it is closed") {
    in_folder([](std::string dir) -> rn::task<> {
        auto file = co_await rn::file::open(dir, rn::open_options().read().write().temporary());
        if (!file) {
            CHECK(file.error() == std::errc::operation_not_supported);
            std::puts("skipped: this file system has no files without a name");
            co_return;
        }
        CHECK(co_await file->write_at("scratch", 0));
        CHECK((co_await file->status()).value().links == 0);
        CHECK(co_await rn::stat_file(dir));
    });
}

// --- Cancelling and closing --------------------------------------------------------------------------

TEST_CASE("file: in a cancelled task nothing is done; what has begun comes to its end") {
    in_folder([](std::string dir) -> rn::task<> {
        auto file = (co_await rn::file::open(dir + "/a", made())).value();
        rn::cancellable all = rn::with_cancel(rn::background());
        all.cancel();
        const rn::transfer refused = co_await rn::with_context(all.ctx, file.write_at("x", 0));
        CHECK(refused.error == rn::errc::cancelled);
        CHECK(refused.bytes == 0);
        auto opened = co_await rn::with_context(all.ctx, rn::file::open(dir + "/b", made()));
        CHECK(opened.error() == rn::errc::cancelled);
        CHECK((co_await rn::stat_file(dir + "/b")).error() == std::errc::no_such_file_or_directory);
        CHECK((co_await file.status()).value().size == 0);
    });
}

TEST_CASE("file: of operations that are cancelled on their way each is done or not, and says which") {
    in_folder([](std::string dir) -> rn::task<> {
        auto file = (co_await rn::file::open(dir + "/a", made())).value();
        const std::string text = pattern(256 * 1024);
        for (int round = 0; round < 100; ++round) {
            rn::cancellable some = rn::with_cancel(rn::background());
            std::string back(text.size(), '?');
            const auto write = [&]() -> rn::task<rn::transfer> {
                co_return co_await rn::with_context(some.ctx, file.write_at(text, 0));
            };
            const auto read = [&]() -> rn::task<rn::transfer> {
                co_return co_await rn::with_context(some.ctx, file.read_at(room(back), 0));
            };
            auto writing = rn::go(write);
            auto reading = rn::go(read);
            for (int i = 0; i < round % 10 * 20; ++i) co_await rn::yield();
            some.cancel();
            const rn::transfer written = (co_await writing).value();
            const rn::transfer got = (co_await reading).value();
            if (written) {
                CHECK(written.bytes == text.size());
            } else {
                CHECK(written.error == rn::errc::cancelled);
            }
            CHECK(got.bytes <= text.size());
            if (got.error && got.error != rn::errc::end_of_stream) CHECK(got.error == rn::errc::cancelled);
            CHECK(back.substr(got.bytes) ==
                  std::string(text.size() - got.bytes, '?'));  // nothing comes later
        }
    });
}

TEST_CASE("file: a time limit ends an operation that has not begun, and waits for one that has") {
    in_folder([](std::string dir) -> rn::task<> {
        auto file = (co_await rn::file::open(dir + "/a", made())).value();
        const rn::transfer written = co_await rn::with_timeout(1h, file.write_at("abc", 0));
        CHECK(written);
        const rn::result<> synced = co_await rn::with_timeout(1ns, file.sync());
        if (!synced) CHECK(synced.error() == rn::errc::timed_out);
        auto opened = co_await rn::with_timeout(0ns, rn::file::open(dir + "/a"));
        if (!opened) CHECK(opened.error() == rn::errc::timed_out);
    });
}

TEST_CASE("file: closed while operations are in flight they come to their end, and nothing new begins") {
    in_folder([](std::string dir) -> rn::task<> {
        for (int round = 0; round < 20; ++round) {
            auto file = (co_await rn::file::open(dir + "/a", made())).value();
            const std::string text = pattern(100'000);
            const auto write = [&]() -> rn::task<rn::transfer> { co_return co_await file.write_at(text, 0); };
            auto one = rn::go(write);
            auto other = rn::go(write);
            CHECK(co_await rn::yield());
            file.close();
            CHECK(!file.is_open());
            for (auto* each : {&one, &other}) {
                const rn::transfer end = (co_await *each).value();
                CHECK((end.bytes == text.size() || (end.bytes == 0 && end.error == rn::errc::closed)));
            }
            CHECK((co_await file.sync()).error() == rn::errc::closed);
            CHECK((co_await file.status()).error() == rn::errc::closed);
        }
    });
}

TEST_CASE("file: many tasks read and write at their own offsets at once") {
    const folder here;
    run_on(
        2,
        [](std::string dir) -> rn::task<> {
            auto file = (co_await rn::file::open(dir + "/a", made())).value();
            const auto one = [&file](unsigned number) -> rn::task<> {
                const std::string mine = pattern(3000, number + 1);
                for (int round = 0; round < 20; ++round) {
                    CHECK(co_await file.write_at(mine, number * 3000));
                    std::string back(3000, '?');
                    CHECK(co_await file.read_at(room(back), number * 3000));
                    CHECK(back == mine);
                }
            };
            rn::task_set all;
            for (unsigned number = 0; number < 64; ++number) all.spawn(one, number);
            co_await all.join();
            CHECK((co_await file.status()).value().size == 64 * 3000);
        },
        here.path())
        .value();
}

TEST_CASE("file: a pipe opened by its path is read as a stream") {
    in_folder([](std::string dir) -> rn::task<> {
        REQUIRE(mkfifo((dir + "/pipe").c_str(), 0600) == 0);
        // Read and write: so neither waits for the other side.
        auto pipe = (co_await rn::file::open(dir + "/pipe", rn::open_options().read().write())).value();
        CHECK(co_await pipe.write_all("through"));
        auto chunk = co_await pipe.recv();
        CHECK(chunk->text() == "through");
        CHECK(pipe.position() == 0);
        std::string some(4, '?');
        CHECK((co_await pipe.read_at(room(some), 0)).error == std::errc::invalid_seek);
    });
}
}
