// await_hazard: what g++ 12 miscompiles in an awaited expression is refused where we can see it.
//
// In the full expression of a co_await, g++ 12 copies two kinds of temporaries bitwise and destroys them
// twice: closures that capture something non-trivial by value, and braced aggregates with non-trivial
// members. A function that is called in such expressions and takes a callable or a value asks here.
// A temporary cannot be told from a named object that was given with std::move, so that is refused too:
// the way out is to name the object on the line before and to pass rn::from(it). Other compilers are
// right and are refused nothing. See "g++ 12" in the documentation.
#pragma once

#include <type_traits>

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
}
