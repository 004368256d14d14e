// file_operation: an operation (io_operation.hpp) on a file or a path: both halves of its action in one place.
//
// The steps are those of every operation. An operation of an open file enters the file's lane, so that its number is
// not closed below it; one of a path has no descriptor, and nothing to enter.
#pragma once

#include <cstddef>
#include <string>
#include <utility>

#include "file_action.hpp"
#include "io_operation.hpp"

namespace runnel::detail {

/// Of the kind file; a path of it begins at the working directory.
io_action make_file_action() noexcept;

/// A path that can be given to the kernel, or, with a zero byte in it, not.
class file_path {
public:
    file_path() noexcept = default;
    explicit file_path(std::string text) noexcept : text_(std::move(text)) {}
    /// nullptr, and `error` is set.
    const char* give(int& error) const noexcept;
    const std::string& text() const noexcept { return text_; }

private:
    std::string text_;
};

template <class Op>
class file_operation : public io_operation_of<Op> {
public:
    /// Once all has its final place.
    void prepare() noexcept {
        this->action_.data = &file_;
        if constexpr (requires(Op& self) { self.place(); }) static_cast<Op&>(*this).place();
    }

protected:
    file_operation(descriptor& on, lane which, file_kind kind) noexcept
        : io_operation_of<Op>(on, which, make_file_action()), file_(kind) {
        this->alone_ = which != lane::call;
    }
    explicit file_operation(file_kind kind) noexcept : io_operation_of<Op>(make_file_action()), file_(kind) {}
    file_operation(file_operation&&) noexcept = default;

    file_action file_;
};
}
