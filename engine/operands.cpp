#include "engine/operands.h"

#include <algorithm>

#include "kernels/pointwise.h"

namespace pneuma {
namespace {

Operand reads(const char* name, View& v, double times = 1) {
  return {name, v, times * double(v.bytes()), 0, &v};
}
Operand writes(const char* name, View& v) { return {name, v, 0, double(v.bytes()), &v}; }
Operand writes(const char* name, Gradient& g) {
  const auto bytes = double(g.bytes());
  return {name, g, g.add ? bytes : 0, bytes, &g};
}
Operand changes(const char* name, View& v) {
  const auto bytes = double(v.bytes());
  return {name, v, bytes, bytes, &v};
}

Operands present(Operands all) {
  std::erase_if(all, [](const Operand& o) { return !o.view; });
  return all;
}

// A buffer of every parameter of a list, an operand for each dtype that it has.
void add(Operands& all, const char* name, Dtype dtype, int64_t count, bool read, bool written) {
  const auto same = [&](const Operand& o) { return o.name == name && o.view.dtype == dtype; };
  auto it = std::find_if(all.begin(), all.end(), same);
  if (it == all.end()) it = all.insert(it, {name, {nullptr, {}, 1, dtype}, 0, 0, nullptr});
  it->view.dims[0] += count;
  if (read) it->read = double(it->view.bytes());
  if (written) it->written = double(it->view.bytes());
}

}  // namespace

Operands operands(ConvolutionForward& a) {
  return {reads("x", a.x), reads("w", a.w), writes("y", a.y)};
}
Operands operands(ConvolutionBackwardData& a) {
  return {reads("dy", a.dy), reads("w", a.w), writes("dx", a.dx)};
}
Operands operands(ConvolutionBackwardWeights& a) {
  return {reads("x", a.x), reads("dy", a.dy), writes("dw", a.dw)};
}

// Two passes: the first reads x for the statistics, the second reads it again.
Operands operands(BatchNormForward& a) {
  return present({reads("x", a.x, 2), reads("residual", a.residual), reads("gamma", a.gamma),
                  reads("beta", a.beta), writes("y", a.y), writes("relu_mask", a.relu_mask),
                  writes("mean", a.mean), writes("rstd", a.rstd),
                  changes("running_mean", a.running_mean), changes("running_var", a.running_var)});
}
// Two passes: each reads dy, x and the mask.
Operands operands(BatchNormBackward& a) {
  return present({reads("dy", a.dy, 2), reads("x", a.x, 2), reads("relu_mask", a.relu_mask, 2),
                  reads("gamma", a.gamma), reads("mean", a.mean), reads("rstd", a.rstd),
                  writes("dx", a.dx), writes("dresidual", a.dresidual), writes("dgamma", a.dgamma),
                  writes("dbeta", a.dbeta)});
}
Operands operands(BatchNormInference& a) {
  return present({reads("x", a.x), reads("residual", a.residual), reads("gamma", a.gamma),
                  reads("beta", a.beta), reads("running_mean", a.running_mean),
                  reads("running_var", a.running_var), writes("y", a.y)});
}

Operands operands(MaxPoolForward& a) {
  return {reads("x", a.x), writes("y", a.y), writes("argmax", a.argmax)};
}
Operands operands(MaxPoolBackward& a) {
  return {reads("dy", a.dy), reads("argmax", a.argmax), writes("dx", a.dx)};
}
Operands operands(GlobalAveragePoolForward& a) { return {reads("x", a.x), writes("y", a.y)}; }
Operands operands(GlobalAveragePoolBackward& a) { return {reads("dy", a.dy), writes("dx", a.dx)}; }

Operands operands(LinearForward& a) {
  return {reads("x", a.x), reads("w", a.w), reads("b", a.b), writes("y", a.y)};
}
Operands operands(LinearBackward& a) {
  return present({reads("dy", a.dy), reads("x", a.x), reads("w", a.w), writes("dx", a.dx),
                  writes("dw", a.dw), writes("db", a.db)});
}

Operands operands(PointwiseForward& a) {
  return present({reads("a", a.a), reads("b", a.b), writes("y", a.y)});
}
// What the formula does not need is not loaded.
Operands operands(PointwiseBackward& a) {
  return pointwise::dispatch(a.op, [&](auto formula) {
    const double inputs = formula.kNeedsInputs, output = formula.kNeedsOutput;
    return present({reads("dy", a.dy), reads("a", a.a, inputs), reads("b", a.b, inputs),
                    reads("y", a.y, output), writes("da", a.da), writes("db", a.db)});
  });
}

Operands operands(SigmoidCrossEntropy& a) {
  return present({reads("logits", a.logits), reads("labels", a.labels),
                  reads("positive_weight", a.positive_weight),
                  reads("negative_weight", a.negative_weight), writes("loss", a.loss),
                  writes("dlogits", a.dlogits)});
}
Operands operands(SoftmaxCrossEntropy& a) {
  return present({reads("logits", a.logits), reads("labels", a.labels), writes("loss", a.loss),
                  writes("dlogits", a.dlogits)});
}

// A crop reads its window alone.
Operands operands(Augment& a) {
  Operands all = {reads("pixels", a.pixels), reads("items", a.items), writes("y", a.y)};
  const int64_t* size = a.y.dims;  // [N,h,w,C]
  if (a.host_items && !a.host_items->transform)
    all[0].read = double(size[0] * size[1] * size[2] * a.host_items->channels);
  return all;
}
Operands operands(Resize& a) { return {reads("x", a.x), writes("y", a.y)}; }

Operands operands(GradientCheck& a) {
  Operands all;
  for (int64_t i = 0; i < a.count; ++i)
    add(all, "gradients", a.items[i].gradient_dtype, a.items[i].count, true, false);
  return all;
}
Operands operands(OptimizerStep& a) {
  Operands all;
  for (int64_t i = 0; i < a.count; ++i) {
    const ParameterUpdate& p = a.items[i];
    add(all, "values", p.dtype, p.count, true, true);
    add(all, "gradients", p.gradient_dtype, p.count, true, false);
    add(all, "moment1", p.dtype, p.count, true, true);
    if (a.kind == OptimizerKind::adam) add(all, "moment2", p.dtype, p.count, true, true);
    if (p.working_dtype != p.dtype) add(all, "working", p.working_dtype, p.count, false, true);
  }
  return all;
}

Operands operands(Fill& a) { return {writes("y", a.y)}; }
Operands operands(Convert& a) { return {reads("x", a.x), writes("y", a.y)}; }

}  // namespace pneuma
