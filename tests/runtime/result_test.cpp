// Results and their errors: words, and comparison with the system's.
#include <doctest/doctest.h>
#include <runnel/result.hpp>

#include <memory>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include "support/dies.hpp"

using runnel::errc;
using runnel::result;

TEST_CASE("result: each error says in words of its own what happened") {
    std::set<std::string> words;
    for (int code = 1; code <= static_cast<int>(errc::no_places); ++code)
        words.insert(make_error_code(static_cast<errc>(code)).message());
    CHECK(words.size() == static_cast<std::size_t>(errc::no_places));
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

TEST_CASE("result: only what converts by itself becomes a value, and an error never becomes one") {
    static_assert(!std::is_convertible_v<int, result<std::vector<int>>>);
    static_assert(std::is_constructible_v<result<std::vector<int>>, int>);
    static_assert(!std::is_convertible_v<int*, result<std::unique_ptr<int>>>);
    static_assert(!std::is_constructible_v<result<bool>, result<int>>);
    static_assert(std::is_convertible_v<const char*, result<std::string>>);
}

TEST_CASE("result: a value that is an error code is said with in_place") {
    const result<std::error_code> value(std::in_place, errc::timed_out);
    REQUIRE(value);
    CHECK(*value == errc::timed_out);
    const result<std::error_code> error(make_error_code(errc::timed_out));
    CHECK_FALSE(error);
}

TEST_CASE("result: an assignment that throws leaves no value behind") {
    struct throws_on_move {
        throws_on_move() = default;
        throws_on_move(throws_on_move&& other) : armed(other.armed) {
            if (armed-- == 0) throw std::runtime_error("moved once too often");
        }
        int armed = 8;
    };
    result<throws_on_move> target(std::in_place);
    result<throws_on_move> source(std::in_place);
    source->armed = 1;  // one move into the parameter, the next one throws
    CHECK_THROWS_AS(target = std::move(source), std::runtime_error);
    CHECK_FALSE(target);
}

TEST_CASE("result: who uses a value that is not there is told why it is not") {
    CHECK(support::dies([] { (void)*result<int>(errc::timed_out); },
                        "the value of a result that holds an error was used: timed out"));
    CHECK(support::dies([] { *result<>(make_error_code(std::errc::connection_refused)); },
                        "was used: Connection refused"));
}
