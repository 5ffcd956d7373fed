// The device itself: memory, streams, events, names for a profiler.
#include <cudnn.h>

#include <cstdio>
#include <string_view>

#include "kernels/cuda/chip.h"
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/launch.cuh"

#if __has_include(<nvtx3/nvToolsExt.h>)
#include <nvtx3/nvToolsExt.h>
#endif

namespace pneuma::cuda {
namespace {

cudaStream_t stream_of(Stream s) { return static_cast<cudaStream_t>(s); }
cudaEvent_t event_of(Event e) { return static_cast<cudaEvent_t>(e); }

Status properties(DeviceProperties* p) {
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error == cudaErrorInsufficientDriver)
    return {StatusCode::device,
            "no NVIDIA driver answers, or it is older than the CUDA runtime of this build; "
            "nvidia-smi shows the driver's version"};
  if (error == cudaErrorNoDevice || (error == cudaSuccess && count == 0))
    return {StatusCode::device, "the NVIDIA driver answers, but there is no GPU"};
  PN_CUDA(error);
  cudaDeviceProp device;
  PN_CUDA(cudaGetDeviceProperties(&device, 0));
  if (const char* why = why_not_on(device.major, device.minor, CUDART_VERSION, cudnnGetVersion()))
    return {StatusCode::unsupported, why};
  *p = {"", device.totalGlobalMem, 1, false};
  std::snprintf(p->name, sizeof p->name, "%.80s, sm_%d%d", device.name, device.major, device.minor);
  return {};
}
Status set_threads(int) { return {}; }

Status allocate(size_t bytes, void** memory) {
  return status_of(cudaMalloc(memory, bytes ? bytes : kAlignment));
}
Status release(void* memory) { return status_of(cudaFree(memory)); }
Status allocate_host(size_t bytes, void** memory) {
  return status_of(cudaMallocHost(memory, bytes ? bytes : kAlignment));
}
Status release_host(void* memory) { return status_of(cudaFreeHost(memory)); }
Status copy(Stream stream, void* to, const void* from, size_t bytes) {
  return status_of(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, stream_of(stream)));
}

Status create_stream(Stream* stream) {
  cudaStream_t created = nullptr;
  PN_CUDA(cudaStreamCreateWithFlags(&created, cudaStreamNonBlocking));
  return *stream = created, Status{};
}
Status destroy_stream(Stream stream) { return status_of(cudaStreamDestroy(stream_of(stream))); }
Status synchronize(Stream stream) { return status_of(cudaStreamSynchronize(stream_of(stream))); }

Status create_event(Event* event) {
  cudaEvent_t created = nullptr;
  PN_CUDA(cudaEventCreate(&created));
  return *event = created, Status{};
}
Status destroy_event(Event event) { return status_of(cudaEventDestroy(event_of(event))); }
Status record(Event event, Stream stream) {
  return status_of(cudaEventRecord(event_of(event), stream_of(stream)));
}
Status wait(Stream stream, Event event) {
  return status_of(cudaStreamWaitEvent(stream_of(stream), event_of(event), 0));
}
Status wait_on_host(Event event) { return status_of(cudaEventSynchronize(event_of(event))); }
Status elapsed(Event from, Event to, float* milliseconds) {
  return status_of(cudaEventElapsedTime(milliseconds, event_of(from), event_of(to)));
}

Status configure(const char* setting, const char* value) {
  if (std::string_view(setting) == "conv_table") return read_conv_table(value);
  return {StatusCode::invalid, "this device has no such setting; it has conv_table"};
}

}  // namespace

Device device() {
  Device d;
  d.properties = properties;
  d.set_threads = set_threads;
  d.allocate = allocate;
  d.release = release;
  d.allocate_host = allocate_host;
  d.release_host = release_host;
  d.copy = copy;
  d.create_stream = create_stream;
  d.destroy_stream = destroy_stream;
  d.synchronize = synchronize;
  d.create_event = create_event;
  d.destroy_event = destroy_event;
  d.record = record;
  d.wait = wait;
  d.wait_on_host = wait_on_host;
  d.elapsed = elapsed;
#ifdef NVTX_VERSION
  d.push_range = [](const char* name) { nvtxRangePushA(name); };
  d.pop_range = [] { nvtxRangePop(); };
#endif
  d.configure = configure;
  d.choices = conv_choices;
  return d;
}

}  // namespace pneuma::cuda
