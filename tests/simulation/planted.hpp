// planted: what is asserted of a bug that was put into a program on purpose, and of the mended program.
//
//     rn::task<> program(form how);      // the same in both forms, but for the lines that ask `how`
//     check_planted(program, failure::deadlock);
//
//   1  a plain run does not show the bug, nor do the first ten seeds: it takes more than one unlucky decision;
//   2  from wherever exploring starts, it is found within 10,000 schedules, as the failure that it is;
//   3  the seed that is reported shows it again, with the same hash each time;
//   4  the mended form passes as many schedules,
//   5  and runs in a plain runtime of several workers: it is a program, not a puzzle.
//
// How many schedules it takes is a matter of how long the program is before its tasks meet: see work(). Another
// engine, with points in other places, may ask for other numbers there.
#pragma once

#include <runnel/testing.hpp>

namespace support {

enum class form { broken, mended };

/// Goes on for so many points and touches nothing that others see: so tasks meet at one place only by chance.
/// Ends early when it is cancelled.
runnel::task<> work(int points);

void check_planted(runnel::task<> (*program)(form), runnel::testing::failure shows_as);
}
