// Results and their errors: words, and comparison with the system's.
#include <doctest/doctest.h>
#include <runnel/result.hpp>

#include <memory>
#include <set>
#include <string>

using runnel::errc;
using runnel::result;

TEST_CASE("result: each error says in words of its own what happened") {
    std::set<std::string> words;
    for (int code = 1; code <= static_cast<int>(errc::not_available); ++code)
        words.insert(make_error_code(static_cast<errc>(code)).message());
    CHECK(words.size() == static_cast<std::size_t>(errc::not_available));
    CHECK(words.count("") == 0);
    CHECK(make_error_code(errc::timed_out).message() == "timed out");
    CHECK(std::error_code(12345, runnel::error_category()).message() == "unknown error");
    CHECK(std::error_code(-1, runnel::error_category()).message() == "unknown error");
    CHECK(std::string(runnel::error_category().name()) == "runnel");
}

TEST_CASE("result: an error equals the condition of the system that means the same") {
    CHECK(make_error_code(errc::cancelled) == std::errc::operation_canceled);
    CHECK(make_error_code(errc::timed_out) == std::errc::timed_out);
    CHECK(make_error_code(errc::deadline_exceeded) == std::errc::timed_out);
    CHECK(make_error_code(errc::full) == std::errc::resource_unavailable_try_again);
    CHECK(make_error_code(errc::empty) == std::errc::resource_unavailable_try_again);
    CHECK(make_error_code(errc::not_available) == std::errc::resource_unavailable_try_again);
    CHECK(make_error_code(errc::closed) != std::errc::broken_pipe);
    CHECK(make_error_code(errc::closed) == errc::closed);
    CHECK(make_error_code(errc::closed) != errc::cancelled);
}

TEST_CASE("result: holds a value or an error") {
    result<std::unique_ptr<int>> value(std::make_unique<int>(7));
    REQUIRE(value);
    CHECK(**value == 7);
    CHECK_FALSE(value.error());
    const std::unique_ptr<int> taken = *std::move(value);
    CHECK(*taken == 7);

    result<std::unique_ptr<int>> none(errc::closed);
    CHECK_FALSE(none);
    CHECK(none.error() == errc::closed);
    CHECK_THROWS_AS(none.value(), std::system_error);

    result<> done;
    CHECK(done);
    done = errc::timed_out;
    CHECK_FALSE(done);
    CHECK(done.error() == errc::timed_out);
}
