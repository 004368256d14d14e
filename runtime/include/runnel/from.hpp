// from: names an object that is to be moved from, but only if the operation happens.
//
//   auto job = next_job();
//   if (!co_await jobs.send(rn::from(job))) keep(std::move(job));  // not sent: still ours, untouched
//
// A plain `std::move(job)` argument is gone whether the send succeeds or not: it has been moved into
// the operation. from(job) only refers to it, so the object must outlive the operation, and rvalues
// and const objects are refused.
#pragma once

#include <type_traits>

namespace runnel {

template <class T>
class from {
    static_assert(!std::is_const_v<T>, "from() moves out of its object: it cannot be const");

public:
    using value_type = T;

    explicit from(T& object) noexcept : object_(__builtin_addressof(object)) {}
    from(const T&&) = delete;  // a temporary would be gone before anybody could ask for it

    /// The object. Move out of it when the operation happens, never before.
    T& get() const noexcept { return *object_; }

private:
    T* object_;
};

namespace detail {
template <class>
inline constexpr bool is_from = false;
template <class T>
inline constexpr bool is_from<from<T>> = true;
}
}
