#include "apps/common/batch_input.h"

namespace pneuma {

void BatchInput::upload_pixels(Context& ctx, const Batch& batch) {
  const auto bytes = int64_t(batch.pixels.size());
  if (int64_t(pixels_.bytes()) < bytes) pixels_ = ctx.persistent({bytes}, Dtype::u8);
  ctx.upload(pixels_, batch.pixels.data(), batch.pixels.size());
}

Tensor BatchInput::images(Context& ctx, const Batch& batch) const {
  const auto n = int64_t(batch.items.size());
  Tensor items = ctx.tensor({n * int64_t(sizeof(AugmentItem))}, Dtype::u8, "augment");
  ctx.upload(items, batch.items.data(), items.bytes());
  const auto& [channels, height, width] = info_.image_shape;
  return ops::augment(ctx, pixels_, items, {n, height, width, channels}, info_.mean.data(),
                      info_.std.data());
}

Tensor BatchInput::labels(Context& ctx, const Batch& batch, int classes) const {
  Tensor labels = ctx.tensor({int64_t(batch.items.size()), classes}, Dtype::f32, "labels");
  ctx.upload(labels, batch.labels.data(), labels.bytes());
  return labels;
}

Tensor BatchInput::class_ids(Context& ctx, const Batch& batch) const {
  Tensor ids = ctx.tensor({int64_t(batch.items.size())}, Dtype::i32, "labels");
  const std::vector<int32_t> values(batch.labels.begin(), batch.labels.end());
  ctx.upload(ids, values.data(), ids.bytes());
  return ids;
}

}  // namespace pneuma
