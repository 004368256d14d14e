// Unix addresses: from text and back.
#include <doctest/doctest.h>

#include <sys/socket.h>
#include <sys/un.h>

#include <cstring>
#include <ostream>
#include <runnel/unix_address.hpp>
#include <string>

namespace rn = runnel;
using rn::unix_address;

namespace {
unix_address parsed(std::string_view text) { return unix_address::parse(text).value(); }
std::error_code why_not(std::string_view text) { return unix_address::parse(text).error(); }
}

TEST_CASE("unix address: what is parsed is printed as it was") {
    for (const std::string text : {"/run/x.sock", "./x", "x", "@name", "@", "", "../@x", "./@x"})
        CHECK(to_string(parsed(text)) == text);
}

TEST_CASE("unix address: it is a path or an abstract name or unnamed") {
    CHECK(parsed("/run/x").is_path());
    CHECK(parsed("/run/x").name() == "/run/x");
    CHECK(parsed("@name").is_abstract());
    CHECK(parsed("@name").name() == "name");
    CHECK_FALSE(parsed("@name").is_path());
    CHECK(parsed("").is_unnamed());
    CHECK(unix_address().is_unnamed());
    CHECK(unix_address().name().empty());
    CHECK_FALSE(parsed("@").is_unnamed());  // the abstract name of no bytes
}

TEST_CASE("unix address: they are equal when the system takes them as one") {
    CHECK(parsed("/a") == parsed("/a"));
    CHECK(parsed("/a") != parsed("/b"));
    CHECK(parsed("@a") != parsed("a"));
    CHECK(parsed("@a") != parsed("@ab"));
    CHECK(unix_address() == parsed(""));
    CHECK(unix_address::abstract("a").value() == parsed("@a"));
}

TEST_CASE("unix address: the longest path has 107 bytes and the next is an error of its own") {
    const std::string longest(107, 'p');
    CHECK(to_string(parsed(longest)) == longest);
    CHECK(why_not(longest + 'p') == std::errc::filename_too_long);
    CHECK(to_string(parsed('@' + longest)) == '@' + longest);
    CHECK(why_not('@' + longest + 'p') == std::errc::filename_too_long);
}

TEST_CASE("unix address: a path has no zero byte; an abstract name may") {
    CHECK(why_not(std::string_view("/a\0b", 4)) == std::errc::invalid_argument);
    const auto name = unix_address::abstract(std::string_view("a\0b", 3)).value();
    CHECK(name.name() == std::string_view("a\0b", 3));
    CHECK(name != parsed("@a"));
}

TEST_CASE("unix address: what the system writes becomes the same address") {
    const auto as_written = [](const void* native, std::size_t bytes) {
        unix_address made = parsed("/left/over");
        made.assign(native, bytes);
        return made;
    };
    for (const std::string text : {"/run/x.sock", "@name", ""}) {
        const unix_address original = parsed(text);
        CHECK(as_written(original.native(), original.native_bytes()) == original);
    }
    // Linux gives a path of 108 bytes without a zero at its end, and the rest of its room after a shorter one.
    sockaddr_un full{};
    full.sun_family = AF_UNIX;
    std::memset(full.sun_path, 'p', sizeof full.sun_path);
    CHECK(as_written(&full, sizeof full).name() == std::string(107, 'p'));
    std::strcpy(full.sun_path, "/short");
    CHECK(as_written(&full, sizeof full) == parsed("/short"));
    CHECK(as_written(&full, 0).is_unnamed());
}
