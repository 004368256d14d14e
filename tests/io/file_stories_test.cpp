// What is done by names, told once and run in both worlds: on the system's files, by the driver of this run, and on a
// simulation's, under many seeds. So what is simulated is what Linux does.
#include <doctest/doctest.h>
#include <runnel/directory.hpp>
#include <runnel/file_paths.hpp>
#include <runnel/testing.hpp>
#include <runnel/testing_files.hpp>

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "folder.hpp"
#include "loopback.hpp"
#include "support/level.hpp"

namespace testing = runnel::testing;
using namespace test;
using testing::expect;

namespace {

using story = rn::task<> (*)(std::string dir);

void in_both_worlds(story told) {
    const folder here;
    run_on(1, told, here.path()).value();
    const auto all =
        testing::explore(support::scaled(50U, 2'000U), [told]() -> rn::task<> { return told("/tmp"); });
    CHECK_MESSAGE(all.ok(), all.what());
}

rn::task<std::string> content(std::string path) {
    auto text = co_await rn::read_file(std::move(path));
    expect(text.has_value(), "it can be read");
    co_return *std::move(text);
}

rn::task<bool> is_there(std::string path) {
    const auto status = co_await rn::stat_link(std::move(path));
    expect(status || status.error() == std::errc::no_such_file_or_directory, "there or not");
    co_return status.has_value();
}

std::string sorted(std::vector<std::string> names) {
    std::sort(names.begin(), names.end());
    std::string all;
    for (const std::string& name : names) all += (all.empty() ? "" : " ") + name;
    return all;
}

rn::task<std::string> names_in(std::string path) {
    std::vector<std::string> names;
    auto dir = co_await rn::directory::open(std::move(path));
    expect(dir.has_value(), "the directory can be opened");
    auto entry = co_await dir->next();
    for (; entry; entry = co_await dir->next()) names.push_back(entry->name);
    expect(entry.error() == rn::errc::end_of_stream, "the last entry");
    co_return sorted(std::move(names));
}

TEST_CASE("write_file and read_file: the whole content, and what was longer is gone") {
    in_both_worlds([](std::string dir) -> rn::task<> {
        const std::string path = dir + "/a", text = pattern(10'000);
        expect((co_await rn::write_file(path, text)).has_value(), "written");
        expect(co_await content(path) == text, "the same");
        expect((co_await rn::write_file(path, "short")).has_value(), "written again");
        expect(co_await content(path) == "short", "the end is gone");
        expect((co_await rn::write_file(path, "")).has_value(), "emptied");
        expect((co_await content(path)).empty(), "empty");
    });
}

TEST_CASE("read_file: takes no more than its limit") {
    in_both_worlds([](std::string dir) -> rn::task<> {
        const std::string path = dir + "/a";
        expect((co_await rn::write_file(path, pattern(5000))).has_value(), "written");
        expect((co_await rn::read_file(path, 5000)).has_value(), "just as large");
        const auto refused = co_await rn::read_file(path, 4999);
        expect(refused.error() == std::errc::file_too_large, "too large");
        const auto none = co_await rn::read_file(path, 0);
        expect(none.error() == std::errc::file_too_large, "limit 0");
    });
}

TEST_CASE("rename_file: gives another name and replaces what had it") {
    in_both_worlds([](std::string dir) -> rn::task<> {
        const std::string a = dir + "/a", b = dir + "/b";
        expect((co_await rn::write_file(a, "new")).has_value(), "a");
        expect((co_await rn::write_file(b, "old")).has_value(), "b");
        expect((co_await rn::rename_file(a, b)).has_value(), "renamed");
        expect(!co_await is_there(a), "the old name is gone");
        expect(co_await content(b) == "new", "replaced");
        expect((co_await rn::rename_file(a, b)).error() == std::errc::no_such_file_or_directory, "no a");
        expect((co_await rn::make_directory(dir + "/d")).has_value(), "a directory");
        expect((co_await rn::rename_file(b, dir + "/d")).error() == std::errc::is_a_directory, "over it");
        expect((co_await rn::rename_file(dir + "/d", b)).error() == std::errc::not_a_directory, "it over");
        expect((co_await rn::rename_file(dir + "/d", dir + "/d/e")).error() == std::errc::invalid_argument,
               "into itself");
    });
}

TEST_CASE("remove_file: takes the name away, and who has it open reads on") {
    in_both_worlds([](std::string dir) -> rn::task<> {
        const std::string path = dir + "/a";
        expect((co_await rn::write_file(path, "still")).has_value(), "written");
        auto open = co_await rn::file::open(path);
        expect((co_await rn::remove_file(path)).has_value(), "removed");
        expect((co_await rn::remove_file(path)).error() == std::errc::no_such_file_or_directory, "again");
        std::string text(5, '?');
        const rn::transfer read = co_await open->read_at(std::as_writable_bytes(std::span(text)), 0);
        expect(static_cast<bool>(read) && text == "still", "read on");
        expect((co_await open->status())->links == 0, "without a name");
        expect((co_await rn::remove_file(dir)).error() == std::errc::is_a_directory, "of a directory");
    });
}

TEST_CASE("make_directory and remove_directory: one at a time, and empty ones only") {
    in_both_worlds([](std::string dir) -> rn::task<> {
        expect((co_await rn::make_directory(dir + "/d")).has_value(), "made");
        expect((co_await rn::make_directory(dir + "/d")).error() == std::errc::file_exists, "again");
        expect((co_await rn::make_directory(dir + "/e/f")).error() == std::errc::no_such_file_or_directory,
               "the one above is missing");
        expect((co_await rn::write_file(dir + "/d/a", "x")).has_value(), "a file in it");
        expect((co_await rn::remove_directory(dir + "/d")).error() == std::errc::directory_not_empty,
               "not empty");
        expect((co_await rn::remove_directory(dir + "/d/a")).error() == std::errc::not_a_directory, "a file");
        expect((co_await rn::remove_file(dir + "/d/a")).has_value(), "emptied");
        expect((co_await rn::remove_directory(dir + "/d")).has_value(), "removed");
        expect(!co_await is_there(dir + "/d"), "gone");
    });
}

TEST_CASE("links: another name for the same file, or a text that leads to it") {
    in_both_worlds([](std::string dir) -> rn::task<> {
        expect((co_await rn::write_file(dir + "/a", "one")).has_value(), "written");
        expect((co_await rn::make_link(dir + "/a", dir + "/b")).has_value(), "a second name");
        expect((co_await rn::make_link(dir + "/a", dir + "/b")).error() == std::errc::file_exists, "again");
        const auto a = co_await rn::stat_file(dir + "/a");
        const auto b = co_await rn::stat_file(dir + "/b");
        expect(a->inode == b->inode && b->links == 2, "the same file");

        expect((co_await rn::make_symbolic_link("a", dir + "/s")).has_value(), "a symbolic link");
        expect(co_await content(dir + "/s") == "one", "followed");
        expect((co_await rn::read_link(dir + "/s")).value() == "a", "its text");
        expect((co_await rn::read_link(dir + "/a")).error() == std::errc::invalid_argument, "none");
        expect((co_await rn::stat_link(dir + "/s"))->is_symbolic_link(), "itself");
        expect((co_await rn::stat_file(dir + "/s"))->is_regular(), "what it leads to");
        expect((co_await rn::make_symbolic_link("loop", dir + "/loop")).has_value(), "a loop");
        expect((co_await rn::stat_file(dir + "/loop")).error() == std::errc::too_many_symbolic_link_levels,
               "that leads nowhere");
        expect((co_await rn::make_directory(dir + "/d")).has_value(), "a directory");
        expect((co_await rn::make_symbolic_link("../a", dir + "/d/up")).has_value(), "a link upwards");
        expect(co_await content(dir + "/d/up") == "one", "from where it is");
        expect(co_await content(dir + "/d/../d/./up") == "one", "dots");
    });
}

TEST_CASE("paths: one with a zero byte in it is refused, before anything is done") {
    in_both_worlds([](std::string dir) -> rn::task<> {
        const std::string bad = dir + std::string("/a\0b", 4);
        expect((co_await rn::make_directory(bad)).error() == std::errc::invalid_argument, "make_directory");
        expect((co_await rn::rename_file(dir, bad)).error() == std::errc::invalid_argument, "rename_file");
        expect((co_await rn::stat_file(bad)).error() == std::errc::invalid_argument, "stat_file");
        expect((co_await rn::read_link(bad)).error() == std::errc::invalid_argument, "read_link");
        expect((co_await rn::write_file(bad, "x")).error() == std::errc::invalid_argument, "write_file");
        expect((co_await names_in(dir)).empty(), "nothing was made");
        expect((co_await rn::stat_file(dir + "/" + std::string(300, 'n'))).error() ==
                   std::errc::filename_too_long,
               "a long name");
    });
}

TEST_CASE("replace_file: the new content in one step, and nothing else is left") {
    in_both_worlds([](std::string dir) -> rn::task<> {
        const std::string path = dir + "/state";
        expect((co_await rn::replace_file(path, "first", 0600)).has_value(), "made");
        expect(co_await content(path) == "first", "the first");
        expect((co_await rn::stat_file(path))->mode == 0600, "with these permissions");
        auto reader = co_await rn::file::open(path);
        expect((co_await rn::replace_file(path, "second")).has_value(), "replaced");
        expect(co_await content(path) == "second", "the second");
        expect((co_await rn::stat_file(path))->mode == 0600, "permissions are kept");
        auto old = co_await reader->recv();
        expect(old && std::string_view("first").starts_with(old->text()),
               "who had it open reads the old one");
        expect(co_await names_in(dir) == "state", "nothing else");
        expect((co_await rn::replace_file(dir + "/no/state", "x")).error() ==
                   std::errc::no_such_file_or_directory,
               "nowhere");
        expect((co_await rn::replace_file(dir, "x")).error().value() != 0, "over a directory");
        expect(co_await names_in(dir) == "state", "still nothing else");
    });
}

TEST_CASE("directory: gives each entry once, with what it is") {
    in_both_worlds([](std::string dir) -> rn::task<> {
        std::vector<std::string> made;
        for (int i = 0; i < 30; ++i) {
            made.push_back("file" + std::to_string(100 + i));
            expect((co_await rn::write_file(dir + "/" + made.back(), "")).has_value(), "made");
        }
        expect(co_await names_in(dir) == sorted(made), "all of them");
        expect((co_await rn::make_directory(dir + "/file999")).has_value(), "a directory");
        expect((co_await rn::make_symbolic_link("file100", dir + "/link")).has_value(), "a link");
        auto listed = co_await rn::directory::open(dir);
        while (auto entry = co_await listed->next()) {
            const rn::file_type expected = entry->name == "file999" ? rn::file_type::directory
                                           : entry->name == "link"  ? rn::file_type::symbolic_link
                                                                    : rn::file_type::regular;
            const auto known = co_await rn::stat_link(dir + "/" + entry->name);
            expect(known->type == expected && known->inode == entry->inode, "what it is");
            if (entry->type != rn::file_type::unknown) expect(entry->type == expected, "as the entry says");
        }
        expect((co_await listed->sync()).has_value(), "synced");
        expect((co_await rn::directory::open(dir + "/file100")).error() == std::errc::not_a_directory,
               "a file is none");
        expect((co_await rn::directory::open(dir + "/none")).error() == std::errc::no_such_file_or_directory,
               "none");
    });
}

TEST_CASE("directory_walk: all below it, links not followed, what is skipped not entered") {
    in_both_worlds([](std::string dir) -> rn::task<> {
        constexpr std::array directories{"/a", "/a/b", "/c"};
        for (const char* name : directories)
            expect((co_await rn::make_directory(dir + name)).has_value(), "a directory");
        constexpr std::array files{"/1", "/a/2", "/a/b/3", "/c/4"};
        for (const char* name : files)
            expect((co_await rn::write_file(dir + name, "")).has_value(), "a file");
        expect((co_await rn::make_symbolic_link("..", dir + "/a/up")).has_value(), "a link");
        std::vector<std::string> found;
        rn::directory_walk walk(dir);
        for (auto next = co_await walk.next(); next; next = co_await walk.next()) {
            expect(!next->error, "no error");
            found.push_back(next->path.substr(dir.size()));
            if (found.back() == "/c") walk.skip();
        }
        expect(sorted(found) == "/1 /a /a/2 /a/b /a/b/3 /a/up /c", "all");
        expect((co_await walk.next()).error() == rn::errc::end_of_stream, "the end stays the end");
        rn::directory_walk nowhere(dir + "/none");
        expect((co_await nowhere.next()).error() == std::errc::no_such_file_or_directory, "no root");
    });
}

TEST_CASE("append: writes go to the end in both worlds") {
    in_both_worlds([](std::string dir) -> rn::task<> {
        const rn::open_options how = rn::open_options().append().create();
        auto one = co_await rn::file::open(dir + "/log", how);
        auto other = co_await rn::file::open(dir + "/log", how);
        expect(static_cast<bool>(co_await one->write_all("a")), "a");
        expect(static_cast<bool>(co_await other->write_all("b")), "b");
        expect(static_cast<bool>(co_await one->write_at("c", 0)), "c");
        expect(co_await content(dir + "/log") == "abc", "in order");
    });
}

TEST_CASE("file: position and truncation and holes are the same in both worlds") {
    in_both_worlds([](std::string dir) -> rn::task<> {
        auto file = co_await rn::file::open(dir + "/a", rn::open_options().read().write().create());
        expect(static_cast<bool>(co_await file->write_all("0123456789")), "written");
        expect((co_await file->truncate(4)).has_value(), "cut");
        expect(static_cast<bool>(co_await file->write_all("x")), "beyond the end");
        expect(co_await content(dir + "/a") == std::string("0123\0\0\0\0\0\0x", 11), "a hole");
        std::string text(20, '?');
        const rn::transfer read = co_await file->read_at(std::as_writable_bytes(std::span(text)), 2);
        expect(read.bytes == 9 && read.error == rn::errc::end_of_stream, "up to the end");
        auto only_read = co_await rn::file::open(dir + "/a");
        expect((co_await only_read->write_all("x")).error == std::errc::bad_file_descriptor, "not to write");
        expect((co_await only_read->truncate(0)).error() == std::errc::invalid_argument, "not to cut");
        auto folder = co_await rn::file::open(dir);
        expect((co_await folder->read_some(std::as_writable_bytes(std::span(text)))).error() ==
                   std::errc::is_a_directory,
               "a directory is not read");
    });
}
}
