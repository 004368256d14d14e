// await_hazard: what g++ 12 miscompiles in an awaited expression is refused where we can see it.
//
// In the full expression of a co_await, g++ 12 copies two kinds of temporaries bitwise and destroys them
// twice: closures that capture something non-trivial by value, and braced aggregates with non-trivial
// members. A function that is called in such expressions and takes a callable or a value asks here.
// A temporary cannot be told from a named object that was given with std::move, so that is refused too:
// the way out is to name the object on the line before and to pass rn::from(it). Other compilers are
// right and are refused nothing. See "g++ 12" in the documentation.
//
// go(f) is mostly a statement of its own, where f may be any closure. What must not be is that its handle is
// awaited in the same expression; so of such an f the handle is of a type that says so: to_be_named.
#pragma once

#include <type_traits>
#include <utility>

namespace runnel::detail {

#if defined(__GNUC__) && !defined(__clang__) && __GNUC__ < 13
inline constexpr bool copies_temporaries_bitwise = true;
#else
inline constexpr bool copies_temporaries_bitwise = false;
#endif

/// For the deduced type of a forwarding reference: may this be a temporary that g++ 12 destroys twice?
template <class Arg>
inline constexpr bool dies_twice_as_value = copies_temporaries_bitwise && !std::is_reference_v<Arg> &&
                                            !std::is_trivially_copyable_v<Arg> && std::is_aggregate_v<Arg>;

/// The same for a callable: a closure cannot be told from any other class.
template <class F>
inline constexpr bool dies_twice_as_callable =
    copies_temporaries_bitwise && !std::is_reference_v<F> && !std::is_trivially_copyable_v<F>;

/// May an expression that calls a function with these not await?
template <class F, class... Args>
inline constexpr bool dies_twice_in_call = dies_twice_as_callable<F> || (dies_twice_as_value<Args> || ...);

/// A handle that cannot be awaited as a temporary, but is like any other once it has a name.
template <class Handle>
class to_be_named final : public Handle {
public:
    static constexpr bool awaited_by_name_only = true;
    explicit to_be_named(Handle&& made) noexcept : Handle(std::move(made)) {}

    auto join() & noexcept { return Handle::join(); }
    template <class Refused = Handle>
    auto join() && noexcept {
        static_assert(
            !std::is_same_v<Refused, Handle>,
            "g++ 12 would destroy what this closure captured twice: name the handle on the line before, "
            "auto end = go(…);");
        return Handle::join();
    }
};

template <class Op>
concept awaited_by_name_only = requires { requires std::remove_cvref_t<Op>::awaited_by_name_only; };

/// What a function that was given F and Args to start them returns for `made`.
template <class F, class... Args, class Handle>
auto named_if_need_be(Handle made) noexcept {
    if constexpr (dies_twice_in_call<F, Args...>)
        return to_be_named<Handle>(std::move(made));
    else
        return made;
}
}
