// testing_signals: what a test does instead of kill().
#pragma once

namespace runnel::testing {

/// The process that a simulation stands for gets this signal: all receivers that its tasks have made are told.
/// Returns  whether there were any. If not, a real process would see the signal's usual effect.
/// check(): not outside a simulation, where there is kill().
bool raise_signal(int number);
}
