#include "engine/image_input.h"

#include <algorithm>

#include "engine/ops/ops.h"

namespace pneuma {

ImageInput::ImageInput(Context& ctx, const ImageFormat& format)
    : ctx_(ctx), format_(format), slots_{Slot(ctx), Slot(ctx)}, side_(ctx) {}

void ImageInput::reserve(int64_t n) {
  if (slots_[0].images && slots_[0].images.dim(0) >= n) return;
  const auto& [channels, height, width] = format_.shape;
  for (Slot& slot : slots_) {
    slot.items = ctx_.persistent({n * int64_t(sizeof(AugmentItem))}, Dtype::u8);
    slot.labels = format_.multi_label ? ctx_.persistent({n, format_.classes}, Dtype::f32)
                                      : ctx_.persistent({n}, Dtype::i32);
    slot.images =
        ctx_.persistent({n, height, width, channels}, ctx_.precision()[OpKind::convolution].input);
  }
}

void ImageInput::stage(std::span<const uint8_t> pixels, std::span<const AugmentItem> items,
                       std::span<const float> labels) {
  const auto n = int64_t(items.size());
  reserve(n);
  slots_[current_].used.set();
  current_ = 1 - current_;
  Slot& slot = slots_[current_];
  if (!labels.empty() && int64_t(labels.size()) != slot.labels.rows(n).shape().count())
    fail(Exit::usage, "{} labels do not go with {} images", labels.size(), n);
  slot.ready.wait_on_host();
  if (slot.pixels.bytes() < pixels.size())
    slot.pixels = ctx_.persistent({int64_t(with_room(pixels.size()))}, Dtype::u8);

  // In the order of their alignment.
  auto* host_items = reinterpret_cast<AugmentItem*>(
      slot.pinned.reserve(items.size_bytes() + labels.size_bytes() + pixels.size()));
  auto* host_labels = reinterpret_cast<std::byte*>(host_items + n);
  std::byte* host_pixels = host_labels + labels.size_bytes();
  std::ranges::copy(items, host_items);
  if (format_.multi_label)
    std::ranges::copy(std::as_bytes(labels), host_labels);
  else
    std::ranges::copy(labels, reinterpret_cast<int32_t*>(host_labels));
  std::ranges::copy(std::as_bytes(pixels), host_pixels);
  {
    const OnStream beside(ctx_, side_);
    slot.used.wait();
    ctx_.copy(slot.items.data<void>(), host_items, items.size_bytes());
    ctx_.copy(slot.labels.data<void>(), host_labels, labels.size_bytes());
    ctx_.copy(slot.pixels.data<void>(), host_pixels, pixels.size());
    ops::augment(ctx_, slot.pixels.rows(int64_t(pixels.size())),
                 slot.items.rows(int64_t(items.size_bytes())), host_items, format_.mean.data(),
                 format_.std.data(), slot.images.rows(n));
    slot.ready.set();
  }
  slot.ready.wait();
}

}  // namespace pneuma
