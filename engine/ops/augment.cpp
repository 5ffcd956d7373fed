#include <algorithm>

#include "engine/ops/ops.h"

namespace pneuma::ops {

void augment(Context& ctx, const Tensor& pixels, const Tensor& items, const AugmentItem* host_items,
             const float mean[3], const float std[3], const Tensor& y) {
  Augment args{.pixels = pixels.view(), .items = items.view(), .y = y.view()};
  args.host_items = host_items;
  std::copy_n(mean, 3, args.mean);
  std::copy_n(std, 3, args.std);
  ctx.run(&Kernels::augment, args);
}

}  // namespace pneuma::ops
