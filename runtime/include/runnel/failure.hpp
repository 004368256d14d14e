// failure: how one of several tasks failed: it threw, or it gave an error.
#pragma once

#include <exception>
#include <system_error>
#include <utility>

namespace runnel {

struct failure {
    failure() noexcept = default;
    explicit failure(std::exception_ptr thrown) noexcept : exception(std::move(thrown)) {}
    explicit failure(std::error_code given) noexcept : error(given) {}

    /// Is it one at all?
    explicit operator bool() const noexcept { return exception != nullptr || static_cast<bool>(error); }

    std::exception_ptr exception;  // null when it gave an error
    std::error_code error;         // false when it threw
};
}
