// counted: an object that is counted, and that notices when it is destroyed twice or was copied bitwise.
//
// Each object remembers its own address. A compiler (or a container of ours) that copies the bytes instead
// of calling the constructor leaves an object whose address is wrong; one that destroys twice meets the mark
// that the first destruction left. Both are counted in errors(), never hidden.
//
//     counted::reset();
//     { ... channel<counted> ... }
//     CHECK(counted::live() == 0);
//     CHECK(counted::errors() == 0);
//
// Threads: any; the counts are atomic, an object itself is an ordinary value.
#pragma once

#include <atomic>
#include <utility>

namespace support {

namespace detail {

struct counts {
    std::atomic<long> live{0};
    std::atomic<long> copies{0};
    std::atomic<long> moves{0};
    std::atomic<long> errors{0};
};
}

template <bool Copyable>
class basic_counted {
public:
    explicit basic_counted(int value = 0) noexcept : value_(value) { born(); }

    basic_counted(const basic_counted& other) noexcept
        requires Copyable
        : value_(other.value()) {
        born();
        ++tally.copies;
    }

    basic_counted(basic_counted&& other) noexcept : value_(std::exchange(other.value_, moved_from)) {
        other.check();
        born();
        ++tally.moves;
    }

    basic_counted& operator=(const basic_counted& other) noexcept
        requires Copyable
    {
        check();
        value_ = other.value();
        ++tally.copies;
        return *this;
    }

    basic_counted& operator=(basic_counted&& other) noexcept {
        check();
        other.check();
        value_ = std::exchange(other.value_, moved_from);
        ++tally.moves;
        return *this;
    }

    ~basic_counted() {
        check();
        self_ = nullptr;
        --tally.live;
    }

    int value() const noexcept {
        check();
        return value_;
    }

    friend bool operator==(const basic_counted& a, const basic_counted& b) noexcept {
        return a.value() == b.value();
    }

    static constexpr int moved_from = -1;

    static long live() noexcept { return tally.live; }
    static long copies() noexcept { return tally.copies; }
    static long moves() noexcept { return tally.moves; }
    static long errors() noexcept { return tally.errors; }

    /// Forgets what earlier tests counted. Call it while no object lives.
    static void reset() noexcept { tally.live = tally.copies = tally.moves = tally.errors = 0; }

private:
    void born() noexcept {
        self_ = this;
        ++tally.live;
    }

    void check() const noexcept {
        if (self_ != this) ++tally.errors;
    }

    // volatile: the mark that a destructor leaves is a dead store to an optimiser otherwise.
    const basic_counted* volatile self_;
    int value_;

    static inline detail::counts tally;
};

using counted = basic_counted<true>;             ///< copyable
using counted_move_only = basic_counted<false>;  ///< move-only, with counts of its own
}
