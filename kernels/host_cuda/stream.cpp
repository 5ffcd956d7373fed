// Streams and events: each stream is a queue and a thread that empties it, behind the host's back
// until somebody waits. Stream 0 is CUDA's legacy default stream.
#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <set>
#include <thread>

#include "kernels/host_cuda/faults.h"
#include "kernels/host_cuda/state.h"
#include "kernels/host_cuda/timeline.h"

using namespace pneuma::host_cuda;
using MomentPointer = std::shared_ptr<Moment>;

struct CUstream_st {
  uint64_t id = 0, sequence = 0;
  bool blocking = true, closing = false;
  Clock clock;  // of what the next operation comes after
  std::deque<std::shared_ptr<Operation>> queue;
  MomentPointer last;                // of the last operation, null before the first
  std::vector<MomentPointer> waits;  // events, for the next operation
};
struct CUevent_st {
  MomentPointer moment;  // null: never recorded
  bool timing = true;
};

namespace pneuma::host_cuda {
namespace {

constexpr size_t kNames = 4096;
using Lock = std::unique_lock<std::mutex>;

struct Streams {  // never destroyed: threads may outlive main
  std::mutex mutex;
  std::condition_variable changed;
  Clock host;  // what the host knows to be over
  uint64_t next_id = 0;
  cudaStream_t legacy = nullptr;
  std::set<cudaStream_t> live;
  std::vector<MomentPointer> last_of_destroyed;
  std::set<cudaEvent_t> events;
  std::vector<std::pair<uint64_t, std::string>> names{kNames};  // a ring of the last operations
  size_t next_name = 0;
};
Streams& all = *new Streams;

bool is_done(const MomentPointer& moment) { return !moment || moment->done; }

void empty_queue(cudaStream_t stream) {
  Lock lock(all.mutex);
  while (true) {
    all.changed.wait(lock, [&] { return !stream->queue.empty() || stream->closing; });
    if (stream->queue.empty()) break;
    const std::shared_ptr<Operation> operation = stream->queue.front();
    const auto& after = operation->after;
    all.changed.wait(lock, [&] { return std::all_of(after.begin(), after.end(), is_done); });
    lock.unlock();
    if (operation->work) operation->work(*operation);
    operation->work = nullptr;
    lock.lock();
    stream->queue.pop_front();
    const auto now = std::chrono::steady_clock::now().time_since_epoch();
    operation->moment->time = std::chrono::duration<double>(now).count();
    operation->moment->done = true;
    all.changed.notify_all();
  }
  delete stream;
}

// All below REQUIRE the lock.
cudaStream_t make_stream(bool blocking) {
  auto* stream = new CUstream_st{.id = all.next_id++, .blocking = blocking};
  std::thread(empty_queue, stream).detach();
  return stream;
}
cudaStream_t find(cudaStream_t stream) {
  if (!all.legacy) all.legacy = make_stream(true);
  if (!stream || stream == cudaStreamLegacy) return all.legacy;
  return all.live.count(stream) ? stream : nullptr;
}
std::vector<cudaStream_t> all_streams() {
  std::vector<cudaStream_t> streams(all.live.begin(), all.live.end());
  streams.push_back(find(nullptr));
  return streams;
}
void wait_for_moment(Lock& lock, MomentPointer moment) {
  if (!moment) return;
  all.changed.wait(lock, [&] { return moment->done; });
  join(all.host, moment->clock);
}
void wait_for_streams(Lock& lock, bool only_blocking) {
  std::vector<MomentPointer> moments;
  if (!only_blocking) moments.swap(all.last_of_destroyed);
  for (cudaStream_t stream : all_streams())
    if (stream->blocking || !only_blocking) moments.push_back(stream->last);
  for (const MomentPointer& moment : moments) wait_for_moment(lock, moment);
}

cudaError_t invalid() { return remember(cudaErrorInvalidResourceHandle); }

// The host has waited, or asked: what does it learn?
cudaError_t after_waiting() {
  ++counting().host_synchronizations;
  verify_guards();
  return remember(pending_error());
}
cudaError_t answer(const MomentPointer& moment) {
  if (!is_done(moment)) return cudaErrorNotReady;
  if (moment) join(all.host, moment->clock);
  return pending_error();
}

}  // namespace

MomentPointer enqueue(cudaStream_t handle, std::string name,
                      std::function<void(const Operation&)> work) {
  Lock lock(all.mutex);
  cudaStream_t stream = find(handle);
  if (!stream) return nullptr;
  auto operation = std::make_shared<Operation>();
  operation->after.swap(stream->waits);
  Clock& clock = operation->clock = stream->clock;
  join(clock, all.host);
  // The legacy stream and blocking ones wait for each other.
  for (cudaStream_t other : all_streams()) {
    const bool one_is_legacy = (stream == all.legacy) != (other == all.legacy);
    if (!one_is_legacy || !stream->blocking || !other->blocking) continue;
    join(clock, other->clock);
    operation->after.push_back(other->last);
  }
  const uint64_t place = ++stream->sequence;
  operation->number = stream->id << kSequenceBits | place;
  if (clock.size() <= stream->id) clock.resize(stream->id + 1);
  clock[stream->id] = place;
  operation->name = std::move(name);
  operation->work = std::move(work);
  operation->moment = std::make_shared<Moment>();
  operation->moment->clock = stream->clock = clock;
  all.names[all.next_name++ % kNames] = {operation->number, operation->name};
  stream->last = operation->moment;
  stream->queue.push_back(operation);
  all.changed.notify_all();
  return operation->moment;
}

std::string name_of_operation(uint64_t number) {
  Lock lock(all.mutex);
  for (const auto& [other, name] : all.names)
    if (other == number) return name;
  return "earlier work";
}

cudaError_t wait_for(cudaStream_t handle) {
  Lock lock(all.mutex);
  cudaStream_t stream = find(handle);
  if (!stream) return invalid();
  if (stream == all.legacy)
    wait_for_streams(lock, true);
  else
    wait_for_moment(lock, stream->last);
  lock.unlock();
  return after_waiting();
}

void finish_before_free() {
  ++counting().host_synchronizations;
  Lock lock(all.mutex);
  wait_for_streams(lock, false);
}

size_t leaked_streams_and_events() {
  Lock lock(all.mutex);
  for (cudaStream_t stream : all.live)
    report(FaultKind::leak, "stream", stream->id,
           text("Stream %llu was never destroyed.", (unsigned long long)stream->id));
  for (cudaEvent_t event : all.events)
    report(FaultKind::leak, "event", uintptr_t(event),
           text("The event %p was never destroyed.", (void*)event));
  return all.live.size() + all.events.size();
}

}  // namespace pneuma::host_cuda

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
  if (!stream || flags > cudaStreamNonBlocking) return remember(cudaErrorInvalidValue);
  Lock lock(all.mutex);
  find(nullptr);  // the legacy stream is number 0
  all.live.insert(*stream = make_stream(flags != cudaStreamNonBlocking));
  return cudaSuccess;
}
cudaError_t cudaStreamCreate(cudaStream_t* stream) {
  return cudaStreamCreateWithFlags(stream, cudaStreamDefault);
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {  // what is queued still runs
  Lock lock(all.mutex);
  if (!all.live.erase(stream)) return invalid();
  all.last_of_destroyed.push_back(stream->last);
  stream->closing = true;
  all.changed.notify_all();
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) { return wait_for(stream); }
cudaError_t cudaStreamQuery(cudaStream_t handle) {
  Lock lock(all.mutex);
  cudaStream_t stream = find(handle);
  return stream ? answer(stream->last) : invalid();
}
cudaError_t cudaDeviceSynchronize() {
  Lock lock(all.mutex);
  wait_for_streams(lock, false);
  lock.unlock();
  return after_waiting();
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
  if (!event) return remember(cudaErrorInvalidValue);
  Lock lock(all.mutex);
  all.events.insert(*event = new CUevent_st{.timing = !(flags & cudaEventDisableTiming)});
  return cudaSuccess;
}
cudaError_t cudaEventCreate(cudaEvent_t* event) {
  return cudaEventCreateWithFlags(event, cudaEventDefault);
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  Lock lock(all.mutex);
  if (!all.events.erase(event)) return invalid();
  delete event;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  const MomentPointer moment = enqueue(stream, "event", nullptr);
  Lock lock(all.mutex);
  if (!moment || !all.events.count(event)) return invalid();
  event->moment = moment;
  return cudaSuccess;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t handle, cudaEvent_t event, unsigned) {
  Lock lock(all.mutex);
  cudaStream_t stream = find(handle);
  if (!stream || !all.events.count(event)) return invalid();
  if (!event->moment) return cudaSuccess;
  join(stream->clock, event->moment->clock);
  stream->waits.push_back(event->moment);
  return cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  Lock lock(all.mutex);
  if (!all.events.count(event)) return invalid();
  wait_for_moment(lock, event->moment);
  lock.unlock();
  return after_waiting();
}
cudaError_t cudaEventQuery(cudaEvent_t event) {
  Lock lock(all.mutex);
  return all.events.count(event) ? answer(event->moment) : invalid();
}
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start, cudaEvent_t end) {
  Lock lock(all.mutex);
  for (cudaEvent_t event : {start, end})
    if (!all.events.count(event) || !event->moment || !event->timing) return invalid();
  if (!start->moment->done || !end->moment->done) return cudaErrorNotReady;
  *milliseconds = float(1e3 * (end->moment->time - start->moment->time));
  return cudaSuccess;
}
