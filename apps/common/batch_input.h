// From a batch of the loader to tensors on the device, the same for training and evaluation.
#pragma once

#include "data/loader.h"
#include "engine/ops/ops.h"
#include "models/weight_files.h"

namespace pneuma {

class BatchInput {
 public:
  explicit BatchInput(const ModelInfo& info) : info_(info) {}

  // Before the step: pixels differ in size from batch to batch, so they have memory of their own,
  // which grows.
  void upload_pixels(Context&, const Batch&);
  // In the step.
  Tensor images(Context&, const Batch&) const;               // [N,h,w,c]
  Tensor labels(Context&, const Batch&, int classes) const;  // [N,classes]
  Tensor class_ids(Context&, const Batch&) const;            // i32 [N]

 private:
  ModelInfo info_;
  Tensor pixels_;
};

}  // namespace pneuma
