#include "kernels/host_cuda/faults.h"

#include <algorithm>
#include <atomic>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <tuple>
#include <vector>

#include "kernels/host_cuda/host_cuda.h"
#include "kernels/host_cuda/state.h"

namespace pneuma::host_cuda {
namespace {

std::mutex mutex;
struct Listed {
  Fault fault;
  std::string who;
  uint64_t place;
};
auto& listed = *new std::vector<Listed>;  // streams may run on while the program ends
Settings current;
Counting counts;
std::atomic<uint64_t> launches{0};  // since the settings were last set
std::atomic<cudaError_t> pending{cudaSuccess};
char first_sentence[sizeof(Fault::sentence)];  // of the fault that made it pending
thread_local cudaError_t last_error = cudaSuccess;

cudaError_t error_of(FaultKind kind) {
  if (kind == FaultKind::leak) return cudaSuccess;
  if (kind == FaultKind::misaligned) return cudaErrorMisalignedAddress;
  return kind <= FaultKind::host_memory ? cudaErrorIllegalAddress : cudaErrorLaunchFailure;
}

bool prints() { return std::getenv("PNEUMA_HOST_CUDA_PRINT") != nullptr; }
struct AtExit {
  ~AtExit() {
    if (prints()) find_leaks();
  }
} at_exit;

size_t copy_faults(Fault* to, size_t room) {
  std::lock_guard lock(mutex);
  for (size_t i = 0; i < std::min(room, listed.size()); ++i) to[i] = listed[i].fault;
  return listed.size();
}

}  // namespace

std::string text(const char* format, ...) {
  char line[512];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(line, sizeof(line), format, arguments);
  va_end(arguments);
  return line;
}

void report(FaultKind kind, const std::string& who, uint64_t place, const std::string& sentence) {
  std::lock_guard lock(mutex);
  if (pending == cudaSuccess && error_of(kind) != cudaSuccess) {
    snprintf(first_sentence, sizeof(first_sentence), "%s", sentence.c_str());
    pending = error_of(kind);
  }
  for (Listed& l : listed)
    if (l.fault.kind == kind && l.place == place && l.who == who) {
      ++l.fault.times;
      return;
    }
  Listed l{{kind, 1, {}}, who, place};
  snprintf(l.fault.sentence, sizeof(l.fault.sentence), "%s", sentence.c_str());
  listed.push_back(l);
  if (prints()) fprintf(stderr, "host_cuda: %s\n", l.fault.sentence);
}

cudaError_t pending_error() { return pending; }
const char* pending_sentence() { return first_sentence; }

const Settings& settings() { return current; }
void set_settings(const Settings& settings) {
  current = settings;
  launches = 0;
}
uint64_t next_launch() { return launches++; }
Counting& counting() { return counts; }

cudaError_t remember(cudaError_t error) {
  if (error != cudaSuccess) last_error = error;
  return error;
}

std::vector<Fault> faults() {
  std::vector<Fault> all(copy_faults(nullptr, 0));
  all.resize(std::min(all.size(), copy_faults(all.data(), all.size())));
  return all;
}
void clear_faults() {
  std::lock_guard lock(mutex);
  listed.clear();
  pending = cudaSuccess;
}
Counters counters() {
  return {counts.allocations,           counts.frees,    counts.pinned_allocations,
          counts.host_synchronizations, counts.launches, counts.copies};
}
size_t find_leaks() { return leaked_allocations() + leaked_streams_and_events(); }

}  // namespace pneuma::host_cuda

using namespace pneuma::host_cuda;

extern "C" const HostCudaControl* pneuma_host_cuda() {
  static constexpr HostCudaControl control = {
      [](Settings* to) { *to = settings(); },
      [](const Settings* from) { set_settings(*from); },
      copy_faults,
      clear_faults,
      [](LaunchRecord* to, size_t room) { return take_launches(to, room); },
      [](Counters* to) { *to = counters(); },
      find_leaks,
  };
  return &control;
}

cudaError_t cudaPeekAtLastError() { return last_error; }
cudaError_t cudaGetLastError() {
  const cudaError_t error = last_error;
  last_error = cudaSuccess;
  return error;
}
