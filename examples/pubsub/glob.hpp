// glob: does a channel's name match a subscriber's pattern?
//
//   *        any bytes, also none            [abc]    one of these
//   ?        any one byte                    [^a-c]   none of these; a range may be written either way round
//   \x       x itself                        others   themselves
//
// The corners are Redis's, since clients rely on them: a bracket may stay open, `[]` matches nothing and
// `[^]` anything, and an empty name is matched by the empty pattern only.
//
// Every element but * takes exactly one byte. So after a mismatch only the latest * needs to try again, one
// byte further on: O(name * pattern) at worst, where recursion into every * would be exponential.
#pragma once

#include <string_view>

namespace pubsub {

bool glob_matches(std::string_view pattern, std::string_view name);
}
