// A Context is where a computation happens: a backend, a precision policy, the memory of a step,
// and, while training, the tape. Context::run is the only path to a kernel: workspace, tracing, the
// "cannot" error and the turning of a Status into an Error live there and nowhere else.
#pragma once

#include <functional>
#include <utility>

#include "engine/arena.h"
#include "engine/error.h"
#include "engine/operands.h"
#include "engine/precision.h"

namespace pneuma {

class Tape;

// One kernel launch, as a tracer sees it; timed by the device's events where it has such.
struct Launch {
  const char* kernel;
  double seconds;
  const Operands& operands;  // shapes, dtypes, bytes read and written
  double bytes() const;      // of all, both ways
};

// What a steady training step has none of, and the waits that it may have.
struct Counts {
  int64_t allocations = 0;       // of memory that stays; the arena counts its own
  int64_t synchronisations = 0;  // the host waited for all that the device had been asked for
  int64_t late_waits = 0;        // ...or for a mark of a step ago
};

class Context {
 public:
  // A dry context has no memory and runs no kernel: it plans, from shapes alone.
  explicit Context(const Backend& backend, const Precision& precision = float32(),
                   bool dry = false);
  ~Context();
  Context(const Context&) = delete;

  const Backend& backend() const { return backend_; }
  const Precision& precision() const { return precision_; }
  Arena& arena() { return arena_; }
  Stream stream() const { return stream_; }
  bool dry() const { return dry_ || arena_.recording(); }
  size_t persistent_bytes() const { return persistent_bytes_; }  // asked for, so far
  int64_t allocations() const { return counts.allocations + arena_.allocations(); }

  Tape* tape = nullptr;   // null: inference, nothing is recorded
  bool training = false;  // batch norm uses this batch's statistics and updates the running ones
  std::function<void(const Launch&)> trace;  // called after each launch where set
  Counts counts;                             // so far

  // A tensor of this step; its contents are undefined.
  Tensor tensor(Shape shape, Dtype dtype, const char* what = "tensor");
  // A tensor that stays, zeroed.
  Tensor persistent(Shape shape, Dtype dtype);

  // Copies between host and tensor; synchronous; REQUIRES bytes == tensor.bytes(). Nothing in a dry
  // run.
  void upload(const Tensor& to, const void* from, size_t bytes);
  void download(void* to, const Tensor& from, size_t bytes);
  void synchronize();
  // The same between device and pinned memory, without waiting: in its turn on the stream.
  void copy(void* to, const void* from, size_t bytes);
  // Where all that follows runs (engine/streams.h); returns where it ran so far.
  Stream use_stream(Stream stream) { return std::exchange(stream_, stream); }

  // Runs `step` without memory or kernels and plans it; the same code later replays the plan.
  MemoryPlan record(const std::function<void()>& step);
  void replay(const MemoryPlan& plan, const std::function<void()>& step);

  template <class Args>
  void run(Kernel<Args> Kernels::*entry, Args args) {
    const Kernel<Args>& kernel = backend_.kernels.*entry;
    if (!kernel.run)
      fail(Exit::environment, "device {} cannot {}; use another --device", backend_.name,
           kernel.name);
    Tensor workspace;
    if constexpr (requires { args.workspace; }) {
      const size_t bytes = kernel.workspace ? kernel.workspace(args) : 0;
      if (bytes) workspace = tensor({int64_t(bytes)}, Dtype::u8, kernel.name);
      args.workspace = workspace.view();
    }
    if (dry()) return;
    const Range range(*this, kernel.name);
    if (!trace) return check(kernel.run(stream_, args), kernel.name);
    traced(kernel.name, operands(args), [&] { return kernel.run(stream_, args); });
  }

  // Names for a profiler what is asked for while it lives; nothing where the device has no names.
  class Range {
   public:
    Range(const Context& ctx, const char* name, const char* what = nullptr);  // "name what"
    ~Range() {
      if (pop_) pop_();
    }
    Range(const Range&) = delete;

   private:
    void (*pop_)() = nullptr;
  };

  // Throws what a failed status says.
  void check(const Status& status, const char* what) const;

 private:
  void traced(const char* kernel, const Operands& operands, const std::function<Status()>& run);

  const Backend& backend_;
  const Precision& precision_;
  Arena arena_;
  bool dry_;
  size_t persistent_bytes_ = 0;
  Stream stream_ = nullptr;
  Event traced_[2] = {};  // before and after a traced launch
};

}  // namespace pneuma
