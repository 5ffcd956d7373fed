// host_cuda's own view of what a test did: its faults, its settings, its records of launches.
#pragma once

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "kernels/host_cuda/control.h"
#include "kernels/open_backend.h"

namespace pneuma::testing {

class HostCudaWatch {
 public:
  // Does nothing where `backend` is another one, so that tests of every device need not ask.
  explicit HostCudaWatch(const Backend& backend) {
    if (std::string(backend.name) != "host_cuda") return;
    const auto find = reinterpret_cast<decltype(&pneuma_host_cuda)>(
        plugin_symbol(backend, host_cuda::kControlSymbol));
    const bool found = find != nullptr;
    REQUIRE(found);
    control_ = find();
    control_->get_settings(&before_);
    control_->clear_faults();
  }
  ~HostCudaWatch() {
    if (control_) control_->set_settings(&before_);
  }
  HostCudaWatch(const HostCudaWatch&) = delete;

  void set(const host_cuda::Settings& settings) { control_->set_settings(&settings); }
  const host_cuda::Settings& before() const { return before_; }
  // REQUIRES that the device was synchronised.
  std::vector<host_cuda::LaunchRecord> take_launches() {
    std::vector<host_cuda::LaunchRecord> records(100000);
    records.resize(control_->take_launches(records.data(), records.size()));
    return records;
  }
  host_cuda::Counters counters() {  // all 0 on another device
    host_cuda::Counters c{};
    if (control_) control_->counters(&c);
    return c;
  }
  // Empty where nothing was found, else the sentence of the first fault.
  std::string fault() {
    if (!control_) return "";
    host_cuda::Fault first;
    return control_->faults(&first, 1) ? first.sentence : "";
  }
  void clear() {  // faults that a test planted
    if (control_) control_->clear_faults();
  }
  // Allocations, streams and events that still exist.
  size_t leaks() { return control_ ? control_->find_leaks() : 0; }

 private:
  const host_cuda::HostCudaControl* control_ = nullptr;
  host_cuda::Settings before_;
};

}  // namespace pneuma::testing
