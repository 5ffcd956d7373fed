// What a person sees while a program works: a bar on a terminal, else one line every few seconds.
// On stderr, so that stdout stays for results.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace pneuma {

class Progress {
 public:
  // `what` begins the line ("epoch 0"); `total` steps, `done` of them already behind.
  Progress(std::string what, int64_t total, int64_t done = 0);
  ~Progress();  // ends the line
  // After a step of `images` images; `note` is shown as it is ("loss 0.412").
  void step(int64_t images, const std::string& note);
  double images_per_second() const { return rate_; }  // a moving mean over some seconds; 0 at first

 private:
  void show(bool last);

  using Clock = std::chrono::steady_clock;
  std::string what_, note_;
  int64_t total_, done_;
  bool terminal_, shown_ = false;
  double rate_ = 0, step_seconds_ = 0;
  Clock::time_point last_step_, last_shown_;
};

}  // namespace pneuma
