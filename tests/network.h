// What tests of a network's training share: inputs of noise, and what working copies must be.
#pragma once

#include <doctest/doctest.h>

#include <vector>

#include "engine/host_values.h"
#include "engine/nn/parameters.h"
#include "engine/random.h"
#include "kernels/half.h"

namespace pneuma::testing {

// Normal numbers, the same for a seed on every device.
inline Tensor noise(Context& ctx, Shape shape, Dtype dtype, uint64_t seed = 3) {
  Random random(seed, Purpose::test);
  std::vector<float> values(size_t(shape.count()));
  for (float& v : values) v = float(random.normal());
  const Tensor t = ctx.persistent(shape, dtype);
  set_values(ctx, t, values);
  return t;
}

// Every working copy is its master, rounded; there are some where the policy wants them.
inline void check_working_copies(Context& ctx, const Parameters& parameters) {
  int copies = 0;
  for (const Parameter& p : parameters.parameters) {
    if (!p.working) continue;
    ++copies;
    std::vector<double> rounded = get_values(ctx, p.value);
    for (double& v : rounded)
      v = p.working.dtype() == Dtype::f16 ? float(Half(float(v))) : float(Bfloat16(float(v)));
    CHECK(rounded == get_values(ctx, p.working));
  }
  CHECK((copies > 0) == (ctx.precision().weight() != ctx.precision().master));
}

}  // namespace pneuma::testing
