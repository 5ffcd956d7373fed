#include "apps/common/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace pneuma {
namespace {

constexpr double kWindow = 5;  // seconds over which the rate is averaged

double seconds(std::chrono::steady_clock::duration d) {
  return std::chrono::duration<double>(d).count();
}

std::string time_text(double s) {
  const auto t = int64_t(s + 0.5);
  if (t >= 3600) return fmt::format("{}h{:02}m", t / 3600, t / 60 % 60);
  return fmt::format("{}m{:02}s", t / 60, t % 60);
}

}  // namespace

Progress::Progress(std::string what, int64_t total, int64_t done)
    : what_(std::move(what)),
      total_(total),
      done_(done),
      terminal_(isatty(STDERR_FILENO)),
      last_step_(Clock::now()),
      last_shown_(last_step_) {}

Progress::~Progress() {
  if (!shown_) return;
  show(true);
  if (terminal_) std::fputc('\n', stderr);
}

void Progress::step(int64_t images, const std::string& note) {
  const Clock::time_point now = Clock::now();
  const double took = std::max(1e-9, seconds(now - last_step_));
  const double weight = step_seconds_ == 0 ? 1 : 1 - std::exp(-took / kWindow);
  step_seconds_ += weight * (took - step_seconds_);
  rate_ += weight * (double(images) / took - rate_);
  last_step_ = now;
  ++done_;
  note_ = note;
  if (seconds(now - last_shown_) >= (terminal_ ? 0.1 : 5.0)) {
    last_shown_ = now;
    show(false);
  }
}

void Progress::show(bool last) {
  const double left = double(total_ - done_) * step_seconds_;
  std::string line =
      fmt::format("{} {:>{}}/{}", what_, done_, fmt::formatted_size("{}", total_), total_);
  if (terminal_) {
    constexpr int kWidth = 24;
    const int full = total_ ? int(kWidth * done_ / total_) : kWidth;
    line += fmt::format(" [{:#<{}}{:<{}}]", "", full, "", kWidth - full);
  }
  line += fmt::format("  {}  {:.1f} images/s", note_, rate_);
  if (done_ < total_) line += fmt::format("  {} left", time_text(left));
  if (terminal_)
    fmt::print(stderr, "\r{}\033[K", line);
  else if (!last)
    fmt::print(stderr, "{}\n", line);
  std::fflush(stderr);
  shown_ = true;
}

}  // namespace pneuma
