// Values of a tensor as the host sees them, whatever its dtype: for weights, tests, files and
// prints.
#pragma once

#include <span>
#include <vector>

#include "engine/context.h"

namespace pneuma {

// Rounds each value to the tensor's dtype. REQUIRES values.size() == shape.count(), dtype f32 or
// f64.
void set_values(Context& ctx, const Tensor& to, std::span<const double> values);
void set_values(Context& ctx, const Tensor& to, std::span<const float> values);

std::vector<double> get_values(Context& ctx, const Tensor& from);
// Of `count` numbers in the host's memory.
std::vector<double> values_of(Dtype dtype, const void* values, int64_t count);

}  // namespace pneuma
