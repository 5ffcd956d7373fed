// A device that is as late, or as early, as its streams and events allow: the reference's kernels
// behind queues that are emptied only where somebody waits. The first stream of a context is always
// late; those after it run at once where `side_streams_at_once`. Memory begins as NaN.
#pragma once

#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

#include "kernels/reference/table.h"

namespace pneuma::testing::deferred {

struct Queue {
  std::deque<std::function<void()>> work;
  int64_t asked = 0, done = 0;
  bool at_once = false;

  void run_to(int64_t place) {
    for (; done < place; ++done) {
      const std::function<void()> next = std::move(work.front());
      work.pop_front();
      next();
    }
  }
};
struct Place {  // an event
  Queue* queue = nullptr;
  int64_t at = 0;
  void reach() const {
    if (queue) queue->run_to(at);
  }
};

inline std::vector<Queue*> streams;  // alive, in the order of their making
inline bool side_streams_at_once = false;
inline std::vector<std::string> ranges;  // "name" where one begins, "" where one ends

inline Queue& of(Stream stream) { return *static_cast<Queue*>(stream); }
inline Place& of_event(Event event) { return *static_cast<Place*>(event); }

inline Status ask(Stream stream, std::function<void()> work) {
  Queue& queue = of(stream);
  queue.work.push_back(std::move(work));
  ++queue.asked;
  if (queue.at_once) queue.run_to(queue.asked);
  return {};
}
inline void run_all() {
  for (Queue* queue : streams) queue->run_to(queue->asked);
}

template <auto Entry>
struct Later;
template <class Args, Kernel<Args> Kernels::*Entry>
struct Later<Entry> {
  static Status run(Stream stream, const Args& args) {
    if constexpr (requires { args.host_items; }) {
      if (!args.host_items) return {StatusCode::invalid, "the host cannot read the items"};
    }
    return ask(stream, [args] {
      const Status status = (reference_backend().kernels.*Entry).run(nullptr, args);
      if (!status) throw std::runtime_error(status.message);
    });
  }
};
template <auto... Entries>
Kernels later() {
  Kernels kernels = reference_backend().kernels;
  ((void)((kernels.*Entries).run = Later<Entries>::run), ...);
  return kernels;
}

inline Device device() {
  Device d = reference_backend().device;
  d.properties = [](DeviceProperties* p) { return *p = {"deferred", 1, 1, false}, Status{}; };
  d.allocate = [](size_t bytes, void** memory) {
    const Status status = reference_backend().device.allocate(bytes, memory);
    if (status) std::memset(*memory, 0xff, bytes);
    return status;
  };
  d.allocate_host = d.allocate;
  d.release = [](void* memory) { return run_all(), reference_backend().device.release(memory); };
  d.release_host = d.release;
  d.copy = [](Stream stream, void* to, const void* from, size_t bytes) {
    return ask(stream, [=] { std::memmove(to, from, bytes); });
  };
  d.create_stream = [](Stream* stream) {
    auto* queue = new Queue;
    queue->at_once = side_streams_at_once && !streams.empty();
    streams.push_back(queue);
    return *stream = queue, Status{};
  };
  d.destroy_stream = [](Stream stream) {
    of(stream).run_to(of(stream).asked);
    std::erase(streams, &of(stream));
    delete &of(stream);
    return Status{};
  };
  d.synchronize = [](Stream stream) { return of(stream).run_to(of(stream).asked), Status{}; };
  d.create_event = [](Event* event) { return *event = new Place, Status{}; };
  d.destroy_event = [](Event event) { return delete &of_event(event), Status{}; };
  d.record = [](Event event, Stream stream) {
    return of_event(event) = {&of(stream), of(stream).asked}, Status{};
  };
  d.wait = [](Stream stream, Event event) {
    return ask(stream, [place = of_event(event)] { place.reach(); });
  };
  d.wait_on_host = [](Event event) { return of_event(event).reach(), Status{}; };
  d.elapsed = [](Event, Event, float* milliseconds) { return *milliseconds = 2, Status{}; };
  d.push_range = [](const char* name) { ranges.push_back(name); };
  d.pop_range = [] { ranges.push_back(""); };
  return d;
}

inline const Backend& backend() {
  using K = Kernels;
  static const Backend all{
      kBackendAbi,
      reference_backend().build,
      "deferred",
      device(),
      later<&K::convolution_forward, &K::convolution_backward_data,
            &K::convolution_backward_weights, &K::batch_norm_forward, &K::batch_norm_backward,
            &K::batch_norm_inference, &K::max_pool_forward, &K::max_pool_backward,
            &K::global_average_pool_forward, &K::global_average_pool_backward, &K::linear_forward,
            &K::linear_backward, &K::pointwise_forward, &K::pointwise_backward,
            &K::sigmoid_cross_entropy, &K::softmax_cross_entropy, &K::augment, &K::resize,
            &K::gradient_check, &K::optimizer_step, &K::fill, &K::convert>(),
      {}};
  return all;
}

}  // namespace pneuma::testing::deferred
