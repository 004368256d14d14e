// result: the words of the library's errors, and which of the system's they are like.
//
// default_error_condition makes `error == std::errc::timed_out` true for both kinds of "too late", so
// a caller that already handles the system's errors handles ours. What the system has no word for
// (closed, end of stream, …) is equal to runnel::errc only.
#include <runnel/result.hpp>

#include <iterator>
#include <string>

#include "task_names.hpp"
#include "worker.hpp"

namespace runnel {

namespace {

// In the order of errc, whose first is 1.
constexpr const char* texts[] = {
    "closed",
    "cancelled",
    "the deadline of the context has passed",
    "timed out",
    "end of stream",
    "the runtime is stopping",
    "full",
    "empty",
    "closed, because the last sender ended by an exception",
    "closed, because the task of the last sender was cancelled",
    "not available at the moment",
    "nobody waits to receive",
    "closed, because its receivers were too slow",
    "closed, because the receiver fell too far behind",
    "a channel without room has no places to reserve",
};
static_assert(std::size(texts) == static_cast<std::size_t>(errc::no_places));

class category final : public std::error_category {
public:
    const char* name() const noexcept override { return "runnel"; }
    std::string message(int value) const override {
        const auto place = static_cast<std::size_t>(value) - 1;
        return place < std::size(texts) ? texts[place] : "unknown error";
    }

    std::error_condition default_error_condition(int value) const noexcept override {
        switch (static_cast<errc>(value)) {
            case errc::cancelled:
                return std::errc::operation_canceled;
            case errc::deadline_exceeded:
            case errc::timed_out:
                return std::errc::timed_out;
            case errc::full:
            case errc::empty:
            case errc::not_available:
            case errc::no_receiver:
                return std::errc::resource_unavailable_try_again;
            default:
                return {value, *this};
        }
    }
};
}

const std::error_category& error_category() noexcept {
    // Constant-initialised: usable in constructors and destructors of other statics.
    static constinit const category the_one;
    return the_one;
}

void detail::no_value(std::error_code error) noexcept {
    std::string text = "the value of a result that holds an error was used: " + error.message();
    const worker* here = current_worker();
    if (here != nullptr && here->running != nullptr) text += "; by " + introduce(*here->running);
    check_failed(text.c_str(), std::source_location::current());
}
}
