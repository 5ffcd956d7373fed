// Decoded pictures and their labels on the way to the device. Two slots: while the step that was
// asked for reads one, the next batch is copied and augmented into the other, on a stream of its
// own. Nobody waits but for what he needs: the step for its batch, a slot for the step that read
// it, the host for the pinned memory that it fills again, two batches later.
#pragma once

#include <array>
#include <span>

#include "engine/streams.h"

namespace pneuma {

// What a network is given.
struct ImageFormat {
  std::array<int, 3> shape;        // channels, height, width
  std::array<float, 3> mean, std;  // in 0..255
  int classes;
  bool multi_label;  // labels are [n,classes]; else one class an image, i32 [n]
};

class ImageInput {
 public:
  ImageInput(Context&, const ImageFormat&);

  // Room for batches of n images. Where there was less, it waits for the device.
  void reserve(int64_t n);
  // Begins to bring a batch; labels may be empty. The next step reads it; a step that reads the
  // batch before has been asked for by now.
  void stage(std::span<const uint8_t> pixels, std::span<const AugmentItem> items,
             std::span<const float> labels);
  // Of the batch of n images that was staged last. REQUIRES reserve(n) or stage.
  Tensor images(int64_t n) const { return slots_[current_].images.rows(n); }  // [n,h,w,c]
  Tensor labels(int64_t n) const { return slots_[current_].labels.rows(n); }

 private:
  struct Slot {
    explicit Slot(Context& ctx) : pinned(ctx), ready(ctx), used(ctx) {}
    Pinned pinned;
    Tensor pixels, items, labels, images;
    Mark ready;  // on the side stream: images and labels stand
    Mark used;   // on the context's: the step that reads them is over
  };

  Context& ctx_;
  const ImageFormat format_;
  Slot slots_[2];
  int current_ = 0;
  SideStream side_;  // the last member: its work ends before the slots do
};

}  // namespace pneuma
