// Kernel launches: their checks, and the threads of the system that run their blocks.
#include <algorithm>
#include <condition_variable>
#include <list>
#include <map>
#include <mutex>
#include <thread>

#include "kernels/host_cuda/block.h"
#include "kernels/host_cuda/state.h"

// `extern __shared__ unsigned char dynamic_shared_memory[]` of device code, whichever namespace it
// stands in.
namespace pneuma::cuda {
alignas(
    256) thread_local unsigned char dynamic_shared_memory[pneuma::host_cuda::kDynamicSharedLimit];
}

namespace pneuma::host_cuda {
namespace {

struct Job {
  Launch* launch;
  uint64_t blocks, first;  // the block that goes first, the others follow
  std::atomic<uint64_t> next{0};
  int workers = 0;
};

// Threads of the system, each with a Block of its own. Never destroyed: they may outlive main.
class Pool {
 public:
  void run(Launch& launch) {
    const uint64_t blocks = uint64_t(launch.grid.x) * launch.grid.y * launch.grid.z;
    const uint64_t seed = launch.settings.seed * 0x9E3779B97F4A7C15ull ^ launch.number;
    std::unique_lock lock(mutex_);
    const int threads = launch.settings.threads > 0
                            ? launch.settings.threads
                            : std::max(1, int(std::thread::hardware_concurrency()));
    for (; started_ < threads; ++started_) std::thread(&Pool::work, this, started_).detach();
    jobs_.emplace_back(&launch, blocks, seed % blocks);
    const auto job = std::prev(jobs_.end());
    wanted_.notify_all();
    done_.wait(lock, [&] { return !job->workers && job->next >= job->blocks; });
    jobs_.erase(job);
  }

 private:
  void work(int index) {
    Block& block = *new Block;
    std::unique_lock lock(mutex_);
    while (true) {
      Job* job = nullptr;
      wanted_.wait(lock, [&] {
        for (Job& j : jobs_)
          if (j.next < j.blocks &&
              (j.launch->settings.threads <= 0 || index < j.launch->settings.threads)) {
            job = &j;
            return true;
          }
        return false;
      });
      ++job->workers;
      lock.unlock();
      for (uint64_t i; (i = job->next++) < job->blocks;) {
        if (!job->launch->stopped) block.run(*job->launch, (i + job->first) % job->blocks);
      }
      lock.lock();
      if (!--job->workers) done_.notify_all();
    }
  }

  std::mutex mutex_;
  std::condition_variable wanted_, done_;
  std::list<Job> jobs_;
  int started_ = 0;
};

Pool& pool() {
  static Pool& one = *new Pool;
  return one;
}

std::mutex limits_mutex;
std::map<const void*, size_t> limits;  // of dynamic shared memory, where the program asked for more

size_t dynamic_limit(const void* kernel) {
  std::lock_guard lock(limits_mutex);
  const auto found = limits.find(kernel);
  return found == limits.end() ? kStaticSharedLimit : found->second;
}

}  // namespace

uintptr_t dynamic_shared_begin() { return uintptr_t(cuda::dynamic_shared_memory); }

cudaError_t launch(const cudaLaunchConfig_t* config, const void* kernel,
                   std::unique_ptr<KernelCall> call) {
  if (!config) return remember(cudaErrorInvalidValue);
  if (!kernel) return remember(cudaErrorInvalidDeviceFunction);
  const dim3 grid = config->gridDim, block = config->blockDim;
  const uint64_t threads = uint64_t(block.x) * block.y * block.z;
  if (!grid.x || !grid.y || !grid.z || grid.x > 0x7FFFFFFF || grid.y > 65535 || grid.z > 65535 ||
      !threads || threads > kMaxThreads || block.x > kMaxThreads || block.y > kMaxThreads ||
      block.z > 64)
    return remember(cudaErrorInvalidConfiguration);
  if (config->dynamicSmemBytes > dynamic_limit(kernel)) return remember(cudaErrorInvalidValue);
  ++counting().launches;
  const std::string name = name_of_function(kernel);
  auto work = [=, number = next_launch(), dynamic = config->dynamicSmemBytes,
               call = std::shared_ptr<KernelCall>(std::move(call))](const Operation& operation) {
    Launch launch{.operation = &operation,
                  .call = call.get(),
                  .grid = grid,
                  .block = block,
                  .dynamic_shared = dynamic,
                  .number = number,
                  .settings = settings()};
    pool().run(launch);
    if (!launch.settings.count_traffic) return;
    LaunchRecord& record = launch.traffic.record;
    const LaunchRecord named = make_record(name);
    std::copy(std::begin(named.name), std::end(named.name), record.name);
    const uint32_t sizes[2][3] = {{grid.x, grid.y, grid.z}, {block.x, block.y, block.z}};
    std::copy(sizes[0], sizes[0] + 3, record.grid);
    std::copy(sizes[1], sizes[1] + 3, record.block);
    record.dynamic_shared = dynamic;
    add_record(record);
  };
  return remember(enqueue(config->stream, name, std::move(work)) ? cudaSuccess
                                                                 : cudaErrorInvalidResourceHandle);
}

cudaError_t set_attribute(const void* kernel, cudaFuncAttribute attribute, int value) {
  if (!kernel) return remember(cudaErrorInvalidDeviceFunction);
  if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize || value < 0 ||
      size_t(value) > kDynamicSharedLimit)
    return remember(cudaErrorInvalidValue);
  std::lock_guard lock(limits_mutex);
  limits[kernel] = size_t(value);
  return cudaSuccess;
}

}  // namespace pneuma::host_cuda
