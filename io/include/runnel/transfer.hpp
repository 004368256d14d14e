// transfer: how much was moved, and why not more.
#pragma once

#include <cstddef>
#include <system_error>

namespace runnel {

/// The result of an operation that can move a part: bytes and error are true together. It converts to
/// true when there is no error, that is, when everything was moved.
class [[nodiscard]] transfer {
public:
    transfer() noexcept {}
    transfer(std::size_t moved, std::error_code why_not_more) noexcept : bytes(moved), error(why_not_more) {}
    explicit operator bool() const noexcept { return !error; }

    std::size_t bytes = 0;
    std::error_code error;
};
}
