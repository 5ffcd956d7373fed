// Streams and events: each stream is a queue and a thread that empties it, behind the host's back
// until somebody waits. Stream 0 is CUDA's legacy default stream.
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <mutex>
#include <set>
#include <thread>

#include "kernels/host_cuda/faults.h"
#include "kernels/host_cuda/state.h"
#include "kernels/host_cuda/timeline.h"

using namespace pneuma::host_cuda;

struct CUstream_st {
  uint64_t id = 0, sequence = 0;
  bool blocking = true, closing = false;
  Clock clock;
  std::deque<std::shared_ptr<Operation>> queue;
  std::shared_ptr<Moment> last;                 // of the last operation, null before the first
  std::vector<std::shared_ptr<Moment>> events;  // waited for by the next operation
};
struct CUevent_st {
  std::shared_ptr<Moment> moment;  // null: never recorded
  bool timing = true;
};

namespace pneuma::host_cuda {
namespace {

constexpr size_t kNames = 4096;

struct Streams {  // never destroyed: threads may outlive main
  std::mutex mutex;
  std::condition_variable changed;
  Clock host;  // what the host knows to be over
  uint64_t next_id = 0;
  CUstream_st* legacy = nullptr;
  std::set<cudaStream_t> live;
  std::set<cudaEvent_t> events;
  std::vector<std::pair<uint64_t, std::string>> names{kNames};  // a ring of the last operations
  size_t next_name = 0;
};
Streams& streams() {
  static Streams& all = *new Streams;
  return all;
}

double now() {
  using namespace std::chrono;
  return duration<double>(steady_clock::now().time_since_epoch()).count();
}

void empty_queue(cudaStream_t stream) {
  Streams& all = streams();
  std::unique_lock lock(all.mutex);
  while (true) {
    all.changed.wait(lock, [&] { return !stream->queue.empty() || stream->closing; });
    if (stream->queue.empty()) break;
    const std::shared_ptr<Operation> operation = stream->queue.front();
    all.changed.wait(lock, [&] {
      for (const auto& moment : operation->after)
        if (!moment->done) return false;
      return true;
    });
    lock.unlock();
    if (operation->work) operation->work(*operation);
    operation->work = nullptr;
    lock.lock();
    stream->queue.pop_front();
    operation->moment->time = now();
    operation->moment->done = true;
    all.changed.notify_all();
  }
  delete stream;
}

cudaStream_t make_stream(bool blocking) {  // REQUIRES the mutex
  auto* stream = new CUstream_st{.id = streams().next_id++, .blocking = blocking};
  std::thread(empty_queue, stream).detach();
  return stream;
}

cudaStream_t find(cudaStream_t stream) {  // REQUIRES the mutex
  Streams& all = streams();
  if (!all.legacy) all.legacy = make_stream(true);
  if (!stream || stream == cudaStreamLegacy) return all.legacy;
  return all.live.count(stream) ? stream : nullptr;
}

void follow(Operation& operation, const CUstream_st& stream) {
  join(operation.clock, stream.clock);
  if (stream.last && !stream.last->done) operation.after.push_back(stream.last);
}

cudaError_t after_waiting() {
  ++counting().host_synchronizations;
  verify_guards();
  return remember(pending_error());
}

// REQUIRES the lock.
void wait_for_moment(std::unique_lock<std::mutex>& lock, const std::shared_ptr<Moment>& moment) {
  if (!moment) return;
  streams().changed.wait(lock, [&] { return moment->done; });
  join(streams().host, moment->clock);
}

void wait_for_all(std::unique_lock<std::mutex>& lock) {
  Streams& all = streams();
  std::vector<std::shared_ptr<Moment>> moments;
  if (all.legacy) moments.push_back(all.legacy->last);
  for (cudaStream_t stream : all.live) moments.push_back(stream->last);
  for (const auto& moment : moments) wait_for_moment(lock, moment);
}

}  // namespace

std::shared_ptr<Moment> enqueue(cudaStream_t handle, std::string name,
                                std::function<void(const Operation&)> work) {
  Streams& all = streams();
  std::lock_guard lock(all.mutex);
  cudaStream_t stream = find(handle);
  if (!stream) return nullptr;
  auto operation = std::make_shared<Operation>();
  operation->clock = stream->clock;
  operation->after = std::move(stream->events);
  stream->events.clear();
  join(operation->clock, all.host);
  if (stream != all.legacy && stream->blocking) follow(*operation, *all.legacy);
  if (stream == all.legacy)
    for (cudaStream_t other : all.live)
      if (other->blocking) follow(*operation, *other);
  const uint64_t place = ++stream->sequence;
  operation->number = stream->id << kSequenceBits | place;
  if (operation->clock.size() <= stream->id) operation->clock.resize(stream->id + 1);
  operation->clock[stream->id] = place;
  operation->name = std::move(name);
  operation->work = std::move(work);
  operation->moment = std::make_shared<Moment>();
  operation->moment->clock = stream->clock = operation->clock;
  all.names[all.next_name++ % kNames] = {operation->number, operation->name};
  stream->last = operation->moment;
  stream->queue.push_back(operation);
  all.changed.notify_all();
  return operation->moment;
}

std::string name_of_operation(uint64_t number) {
  std::lock_guard lock(streams().mutex);
  for (const auto& [other, name] : streams().names)
    if (other == number) return name;
  return "earlier work";
}

cudaError_t wait_for(cudaStream_t handle) {
  {
    std::unique_lock lock(streams().mutex);
    cudaStream_t stream = find(handle);
    if (!stream) return remember(cudaErrorInvalidResourceHandle);
    if (stream == streams().legacy)
      for (cudaStream_t other : std::set<cudaStream_t>(streams().live))
        if (other->blocking) wait_for_moment(lock, std::shared_ptr(other->last));
    wait_for_moment(lock, std::shared_ptr(stream->last));
  }
  return after_waiting();
}

void finish_before_free(const void* memory, size_t bytes) {
  Clock known;
  {
    std::unique_lock lock(streams().mutex);
    known = streams().host;
    wait_for_all(lock);
  }
  if (kSanitized || !(settings().checks & check_dependencies)) return;
  const uintptr_t begin = uintptr_t(memory);
  for (uintptr_t a = begin; a < begin + bytes; a += kGranule) {
    const Granule& granule = arena.granule(a);
    uint64_t user = is_before(granule.writer, known) ? 0 : granule.writer.load();
    for (const auto& reader : granule.readers)
      if (!is_before(reader, known)) user = reader;
    if (!user) continue;
    report(FaultKind::dependency, "free", begin,
           text("The memory %s was freed while the host could not know that %s was done with it.",
                describe(a).c_str(), name_of_operation(user).c_str()));
    return;
  }
}

size_t leaked_streams_and_events() {
  std::lock_guard lock(streams().mutex);
  for (cudaStream_t stream : streams().live)
    report(FaultKind::leak, "stream", stream->id,
           text("Stream %llu was never destroyed.", (unsigned long long)stream->id));
  for (cudaEvent_t event : streams().events)
    report(FaultKind::leak, "event", uintptr_t(event),
           text("The event %p was never destroyed.", (void*)event));
  return streams().live.size() + streams().events.size();
}

}  // namespace pneuma::host_cuda

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
  if (!stream || flags > cudaStreamNonBlocking) return remember(cudaErrorInvalidValue);
  std::lock_guard lock(streams().mutex);
  find(nullptr);  // the legacy stream is number 0
  *stream = make_stream(flags != cudaStreamNonBlocking);
  streams().live.insert(*stream);
  return cudaSuccess;
}
cudaError_t cudaStreamCreate(cudaStream_t* stream) {
  return cudaStreamCreateWithFlags(stream, cudaStreamDefault);
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {  // what is queued still runs
  std::lock_guard lock(streams().mutex);
  if (!streams().live.erase(stream)) return remember(cudaErrorInvalidResourceHandle);
  // The legacy stream keeps what a later free has to wait for.
  cudaStream_t legacy = find(nullptr);
  if (stream->last && !stream->last->done) legacy->events.push_back(stream->last);
  stream->closing = true;
  streams().changed.notify_all();
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) { return wait_for(stream); }
cudaError_t cudaStreamQuery(cudaStream_t handle) {
  std::lock_guard lock(streams().mutex);
  cudaStream_t stream = find(handle);
  if (!stream) return remember(cudaErrorInvalidResourceHandle);
  if (stream->last && !stream->last->done) return cudaErrorNotReady;
  if (stream->last) join(streams().host, stream->last->clock);
  return pending_error();
}
cudaError_t cudaDeviceSynchronize() {
  {
    std::unique_lock lock(streams().mutex);
    wait_for_all(lock);
  }
  return after_waiting();
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
  if (!event) return remember(cudaErrorInvalidValue);
  std::lock_guard lock(streams().mutex);
  *event = new CUevent_st{.timing = !(flags & cudaEventDisableTiming)};
  streams().events.insert(*event);
  return cudaSuccess;
}
cudaError_t cudaEventCreate(cudaEvent_t* event) {
  return cudaEventCreateWithFlags(event, cudaEventDefault);
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  std::lock_guard lock(streams().mutex);
  if (!streams().events.erase(event)) return remember(cudaErrorInvalidResourceHandle);
  delete event;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  auto moment = enqueue(stream, "event", nullptr);
  std::lock_guard lock(streams().mutex);
  if (!moment || !streams().events.count(event)) return remember(cudaErrorInvalidResourceHandle);
  event->moment = moment;
  return cudaSuccess;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t handle, cudaEvent_t event, unsigned) {
  std::lock_guard lock(streams().mutex);
  cudaStream_t stream = find(handle);
  if (!stream || !streams().events.count(event)) return remember(cudaErrorInvalidResourceHandle);
  if (!event->moment) return cudaSuccess;
  join(stream->clock, event->moment->clock);
  if (!event->moment->done) stream->events.push_back(event->moment);
  return cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  {
    std::unique_lock lock(streams().mutex);
    if (!streams().events.count(event)) return remember(cudaErrorInvalidResourceHandle);
    wait_for_moment(lock, std::shared_ptr(event->moment));
  }
  return after_waiting();
}
cudaError_t cudaEventQuery(cudaEvent_t event) {
  std::lock_guard lock(streams().mutex);
  if (!streams().events.count(event)) return remember(cudaErrorInvalidResourceHandle);
  if (event->moment && !event->moment->done) return cudaErrorNotReady;
  if (event->moment) join(streams().host, event->moment->clock);
  return pending_error();
}
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start, cudaEvent_t end) {
  std::lock_guard lock(streams().mutex);
  if (!milliseconds) return remember(cudaErrorInvalidValue);
  for (cudaEvent_t event : {start, end})
    if (!streams().events.count(event) || !event->moment || !event->timing)
      return remember(cudaErrorInvalidResourceHandle);
  if (!start->moment->done || !end->moment->done) return cudaErrorNotReady;
  *milliseconds = float(1e3 * (end->moment->time - start->moment->time));
  return cudaSuccess;
}
