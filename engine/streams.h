// How host and device work side by side: a stream beside the context's own, marks that one waits
// for, pinned memory. In a dry context they do nothing. The context outlives them.
#pragma once

#include "engine/context.h"

namespace pneuma {

class SideStream {
 public:
  explicit SideStream(Context&);
  ~SideStream();  // waits until its work is done
  SideStream(const SideStream&) = delete;

 private:
  friend class OnStream;
  Context& ctx_;
  Stream stream_ = nullptr;
};

// While it lives, what the context is asked for runs on the side stream.
class OnStream {
 public:
  OnStream(Context& ctx, const SideStream& side)
      : ctx_(ctx), before_(ctx.use_stream(side.stream_)) {}
  ~OnStream() { ctx_.use_stream(before_); }
  OnStream(const OnStream&) = delete;

 private:
  Context& ctx_;
  Stream before_;
};

// A place in a stream's work.
class Mark {
 public:
  explicit Mark(Context&);
  ~Mark();
  Mark(const Mark&) = delete;

  void set();           // here: behind all that the context's stream has been asked for
  void wait();          // the context's stream goes on behind it; at once where it was never set
  void wait_on_host();  // the host goes on behind it; counted as a late wait

 private:
  Context& ctx_;
  Event event_ = nullptr;
  bool set_ = false;
};

// Memory of the host that a device copies from and to while the host goes on.
class Pinned {
 public:
  explicit Pinned(Context& ctx) : ctx_(ctx) {}
  ~Pinned();
  Pinned(const Pinned&) = delete;

  // At least so many bytes, aligned to kAlignment; where it grows, what it held is lost.
  // REQUIRES no copy under way.
  std::byte* reserve(size_t bytes);

 private:
  Context& ctx_;
  void* memory_ = nullptr;
  size_t bytes_ = 0;
};

// The size that grows seldom when sizes vary.
inline size_t with_room(size_t bytes) { return bytes + bytes / 4; }

}  // namespace pneuma
