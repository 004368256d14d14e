// borrow: says that an argument of a spawned task outlives the task.
//
// go() and spawn() move what they are given into the task, where it lives until the task ends. A view or
// a reference would only move the pointer: `go(print, std::string_view(line))` compiles in other
// libraries and reads freed memory. Here it does not compile, unless the caller says borrow(line).
#pragma once

#include <cstddef>
#include <tuple>
#include <type_traits>
#include <utility>

namespace runnel {

namespace detail {
/// string_view, span and their like: data() and size(), copied as bytes, and not an array itself.
template <class T>
concept looks_like_a_view = std::is_trivially_copyable_v<T> && requires(const T& t) {
    { t.data() } -> std::convertible_to<const void*>;
    t.size();
} && !requires { std::tuple_size<T>::value; };

/// std::reference_wrapper: get() gives an lvalue of its `type`.
template <class T>
concept looks_like_a_reference = std::is_trivially_copyable_v<T> && requires(const T& t) {
    typename T::type;
    { t.get() } -> std::same_as<typename T::type&>;
};

template <class Arg>
inline constexpr bool may_dangle =
    std::is_array_v<std::remove_reference_t<Arg>> || looks_like_a_view<std::remove_cvref_t<Arg>> ||
    looks_like_a_reference<std::remove_cvref_t<Arg>>;
}

/// What borrow() gives: passed on to the task's function as T&, or as the view that it holds.
template <class T>
class borrowed {
public:
    explicit borrowed(T& of) noexcept : of_(&of) {}
    T& get() const noexcept { return *of_; }

private:
    T* of_;
};

template <class T>
    requires detail::looks_like_a_view<T>
class borrowed<T> {
public:
    explicit borrowed(T view) noexcept : view_(view) {}
    T get() const noexcept { return view_; }

private:
    T view_;
};

/// The caller promises that what this refers to outlives the task it is given to.
template <class T>
    requires(!detail::looks_like_a_view<std::remove_cv_t<T>>)
borrowed<T> borrow(T& of) noexcept {
    return borrowed<T>(of);
}
template <class T>
    requires detail::looks_like_a_view<T>
borrowed<T> borrow(T view) noexcept {
    return borrowed<T>(view);
}
}
