// SIGINT and SIGTERM as a question that a loop asks.
#pragma once

#include <functional>

namespace pneuma {

// From now on the first of the two asks the work to end, and the second ends the program at once.
// The answer: 0, or the exit code to leave with.
std::function<int()> stop_on_signals();

}  // namespace pneuma
