#include "apps/common/stop_signal.h"

#include <csignal>

namespace pneuma {
namespace {

volatile std::sig_atomic_t g_signal = 0;

void on_signal(int signal) {
  g_signal = signal;
  std::signal(signal, SIG_DFL);
}

}  // namespace

std::function<int()> stop_on_signals() {
  std::signal(SIGINT, on_signal);
  std::signal(SIGTERM, on_signal);
  return [] { return g_signal ? 128 + g_signal : 0; };
}

}  // namespace pneuma
