#include <algorithm>

#include "engine/ops/ops.h"

namespace pneuma::ops {

Tensor augment(Context& ctx, const Tensor& pixels, const Tensor& items, Shape output,
               const float mean[3], const float std[3]) {
  Tensor y = ctx.tensor(output, ctx.precision()[OpKind::convolution].input, "augment");
  Augment args{.pixels = pixels.view(), .items = items.view(), .y = y.view()};
  std::copy_n(mean, 3, args.mean);
  std::copy_n(std, 3, args.std);
  ctx.run(&Kernels::augment, args);
  return y;
}

}  // namespace pneuma::ops
