#include "bench/kernels/cases.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>

#include "bench/kernels/describe.h"
#include "engine/optim/optimizer.h"
#include "kernels/pointwise.h"
#include "models/resnet.h"

namespace pneuma::bench {
namespace {

constexpr int kClasses = 14;
// The last stage is 3x3 then: odd, and 18 rows for its statistics.
constexpr int kSmallSize = 96, kSmallBatch = 2;
constexpr int64_t kSmallParameter = 10'000;

// ---- A backend that computes nothing -----------------------------------------------------------

struct Notes {
  Style style;
  bool in_step = true;  // of training
  std::vector<Case> cases;

  void add(Case c) {
    c.times = in_step;
    cases.push_back(std::move(c));
  }
};
Notes* notes = nullptr;  // of the walk under way

// Its memory is one address, which nobody looks into.
Status give_address(size_t, void** memory) {
  alignas(kAlignment) static std::byte address[kAlignment];
  *memory = address;
  return {};
}
template <class... Args>
Status nothing(Args...) {
  return {};
}
template <class Args>
Status note(Stream, const Args& args) {
  notes->add(describe(args, notes->style));
  return {};
}
template <class... Args>
void note_all(Kernel<Args>&... kernels) {
  static_assert(sizeof...(Args) * sizeof(Kernel<Fill>) == sizeof(Kernels), "one is missing");
  ((kernels.run = note<Args>), ...);
}

Backend note_taker() {
  Backend b{kBackendAbi, "", "note taker", {}, {}, {}};
  b.device.allocate = give_address;
  b.device.release = nothing<void*>;
  b.device.copy = nothing<Stream, void*, const void*, size_t>;
  b.device.create_stream = nothing<Stream*>;
  b.device.destroy_stream = nothing<Stream>;
  b.device.synchronize = nothing<Stream>;
  Kernels& k = b.kernels;
  note_all(k.convolution_forward, k.convolution_backward_data, k.convolution_backward_weights,
           k.batch_norm_forward, k.batch_norm_backward, k.batch_norm_inference, k.max_pool_forward,
           k.max_pool_backward, k.global_average_pool_forward, k.global_average_pool_backward,
           k.linear_forward, k.linear_backward, k.pointwise_forward, k.pointwise_backward,
           k.sigmoid_cross_entropy, k.softmax_cross_entropy, k.augment, k.resize, k.gradient_check,
           k.optimizer_step, k.fill, k.convert);
  return b;
}

// ---- What the network does not ask for, at its shapes ------------------------------------------

View view(std::initializer_list<int64_t> dims, Dtype dtype) {
  View v{nullptr, {}, int32_t(dims.size()), dtype};
  std::copy(dims.begin(), dims.end(), v.dims);
  return v;
}

// Every formula, fill and convert, on an activation.
void note_elementwise(Context& ctx, const View& x) {
  for (const Pointwise op : {Pointwise::relu, Pointwise::sigmoid, Pointwise::scale, Pointwise::add,
                             Pointwise::multiply}) {
    const bool two = op == Pointwise::add || op == Pointwise::multiply;
    const View b = two ? x : View();
    ctx.run(&Kernels::pointwise_forward, {op, x, b, x, 1.75});
    ctx.run(&Kernels::pointwise_backward, {op, x, b, x, x, {x}, {b}, 1.75});
  }
  ctx.run(&Kernels::fill, {x, 0.5});
  View master = x;
  master.dtype = Dtype::f32;
  ctx.run(&Kernels::convert, {master, {x}});
  ctx.run(&Kernels::convert, {x, {master}});
  ctx.run(&Kernels::convert, {x, {master, true}});
}

// Pictures as the loader hands them over, cut to the network's size; and radiographs of the NIH's
// size, made smaller.
void note_pictures(Context& ctx, int size, int batch) {
  const int side = size * 8 / 7;
  AugmentItem crop{.height = side, .width = side, .channels = 1};
  crop.crop_y = crop.crop_x = (side - size) / 2;
  crop.mirror = 1;
  AugmentItem turned = crop;
  turned.hue = 10, turned.lightness = -20, turned.saturation = 30;
  turned.transform = 1;
  std::ranges::copy(std::to_array({0.96875f, -0.125f, 9.5f, 0.125f, 0.96875f, -7.25f}),
                    turned.affine);
  for (const AugmentItem& item : {crop, turned}) {
    std::vector<AugmentItem> items(size_t(batch), item);
    for (size_t n = 0; n < items.size(); ++n) items[n].offset = int64_t(n) * side * side;
    ctx.run(&Kernels::augment, {view({int64_t{batch} * side * side}, Dtype::u8),
                                view({batch * int64_t(sizeof(AugmentItem))}, Dtype::u8),
                                view({batch, size, size, 3}, notes->style.dtype),
                                {123.675f, 116.28f, 103.53f},
                                {58.395f, 57.12f, 57.375f},
                                items.data()});
  }
  constexpr int kRadiograph = 1024;
  ctx.run(&Kernels::resize, {view({batch, kRadiograph, kRadiograph, 1}, Dtype::u8),
                             view({batch, size, size, 1}, Dtype::u8)});
}

// ---- The walk ----------------------------------------------------------------------------------

std::vector<Case> walk(int size, int batch, const Style& style) {
  Notes taken{style};
  notes = &taken;
  const Backend backend = note_taker();
  Context ctx(backend, style.dtype == Dtype::f16    ? float16()
                       : style.dtype == Dtype::bf16 ? bfloat16()
                                                    : float32());
  ResNet model(ctx, {.num_layers = 50, .num_classes = kClasses});
  model.parameters().make_gradients(ctx);
  const Tensor x = ctx.tensor({batch, size, size, 3}, style.dtype);
  const Tensor labels = ctx.tensor({batch, kClasses}, Dtype::f32);
  const Tensor weight = ctx.tensor({kClasses}, Dtype::f32);
  Tensor logits;
  Optimizer adam(ctx, model.parameters(), {.kind = OptimizerKind::adam});
  train_step(ctx, model.parameters(), adam, 1e-4, [&](Context& c) {
    logits = model.forward(c, x);
    return ops::sigmoid_cross_entropy(c, logits, labels, weight, weight, adam.device_state());
  });

  taken.in_step = false;
  for (const OptimizerKind kind : {OptimizerKind::sgd, OptimizerKind::nag, OptimizerKind::rmsprop})
    Optimizer(ctx, model.parameters(), {.kind = kind}).step(ctx, 1e-4);
  model.forward(ctx, x);
  ops::softmax_cross_entropy(ctx, logits, ctx.tensor({batch}, Dtype::i32));
  std::vector<View> activations;
  for (const Case& c : taken.cases) {
    if (c.kernel == "batch_norm_inference") activations.push_back(c.operands[0].view);
  }
  for (const View& v : activations) note_elementwise(ctx, v);
  note_pictures(ctx, size, batch);
  notes = nullptr;
  return std::move(taken.cases);
}

}  // namespace

std::string small_walk() {
  return fmt::format("batch {}, pictures of {}, at most {} numbers of a parameter, all channels",
                     kSmallBatch, kSmallSize, kSmallParameter);
}

std::vector<Case> cases_of_resnet50(int size, int batch, Dtype dtype) {
  std::vector<Case> all = walk(size, batch, {dtype, std::numeric_limits<int64_t>::max()});
  std::vector<Case> small = walk(kSmallSize, kSmallBatch, {dtype, kSmallParameter});
  std::vector<Case> distinct;
  std::map<std::string, size_t> places;
  for (size_t k = 0; k < all.size(); ++k) {
    Case& c = all[k];
    if (c.kernel != "gradient_check" && c.kernel != "optimizer_step") {
      c.size = size;
      c.name += fmt::format(" @{}", size);
    }
    const auto [place, is_new] = places.emplace(c.name, distinct.size());
    if (!is_new) {
      distinct[place->second].times += c.times;
      continue;
    }
    c.small = std::make_shared<const Case>(std::move(small[k]));
    distinct.push_back(std::move(c));
  }
  return distinct;
}

}  // namespace pneuma::bench
