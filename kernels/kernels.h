// THE seam: everything that a device can be asked to do. The engine calls nothing else of a device,
// and a device knows nothing of the engine. A backend fills one `Backend` (its table.cpp lists what
// it has, on one screen); an empty entry means "cannot". Only plain data crosses: no exception, no
// owned object.
//
// Conventions. Activations are NHWC, weights OHWI, on every device. A View with rank 0 is absent.
// In a dry run `data` is null and only `workspace` functions are called. Kernels never allocate:
// what `workspace(args)` asks for is handed in as args.workspace, and holds nothing between calls.
// Sums are kept in f32 (in f64 where the storage is f64), in an order that depends on shapes alone,
// so that equal calls give equal bits.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/comm.h"
#include "kernels/step_state.h"
#include "kernels/view.h"

namespace pneuma {

// y = x * w, summed over the window and C. P = (H + 2 padding - R) / stride + 1, Q alike.
struct ConvolutionForward {
  View x, w, y;  // [N,H,W,C], [O,R,S,C], [N,P,Q,O]
  int stride = 1, padding = 0;
  View workspace;
};
struct ConvolutionBackwardData {
  View dy, w;   // [N,P,Q,O], [O,R,S,C]
  Gradient dx;  // [N,H,W,C]
  int stride = 1, padding = 0;
  View workspace;
};
struct ConvolutionBackwardWeights {
  View x, dy;   // [N,H,W,C], [N,P,Q,O]
  Gradient dw;  // [O,R,S,C]
  int stride = 1, padding = 0;
  View workspace;
};

// y = relu?(gamma * (x - mean) * rstd + beta (+ residual)), mean and rstd = 1/sqrt(variance + eps)
// over N, H, W of this batch. Ioffe, Szegedy 2015. The variance is biased for y and unbiased in
// running_var.
struct BatchNormForward {
  View x, residual;  // [N,H,W,C]; residual may be absent
  View gamma, beta;  // [C]; an absent gamma means 1
  View y;            // [N,H,W,C]
  View relu_mask;    // 1 bit per element of y, in its order, lowest bit first; u8; if relu
  View mean, rstd;   // [C], written
  // [C], r += momentum * (batch's - r); a channel with inf or nan in the batch's leaves both alone:
  // the step is skipped, and no later one would mend them.
  View running_mean, running_var;
  View workspace;
  double eps = 1e-5, momentum = 0.1;
  bool relu = false;
};
struct BatchNormBackward {
  View dy, x, relu_mask;   // relu_mask absent: no ReLU
  View gamma, mean, rstd;  // [C]
  Gradient dx, dresidual;  // [N,H,W,C]; dresidual may be absent
  Gradient dgamma, dbeta;  // [C]; dgamma absent where gamma is
  View workspace;
};
struct BatchNormInference {  // the same formula from running statistics
  View x, residual, gamma, beta, running_mean, running_var, y;
  double eps = 1e-5;
  bool relu = false;
};

// Maximum over a square window; padding never wins. argmax: which of the kernel^2 places won, the
// first on a tie.
struct MaxPoolForward {
  View x, y, argmax;  // [N,H,W,C], [N,P,Q,C], u8 [N,P,Q,C]
  int kernel = 3, stride = 2, padding = 1;
};
struct MaxPoolBackward {
  View dy, argmax;
  Gradient dx;
  int kernel = 3, stride = 2, padding = 1;
};
struct GlobalAveragePoolForward {
  View x, y;  // [N,H,W,C], [N,C]
};
struct GlobalAveragePoolBackward {
  View dy;
  Gradient dx;
};

// y = x w^T + b
struct LinearForward {
  View x, w, b, y;  // [N,I], [O,I], [O], [N,O]
  View workspace;
};
struct LinearBackward {
  View dy, x, w;
  Gradient dx, dw, db;  // each may be absent
  View workspace;
};

// One of the formulas of pointwise.h, element by element; b is absent where the formula has one
// operand.
enum class Pointwise : int32_t;
struct PointwiseForward {
  Pointwise op;
  View a, b, y;
  double alpha = 0;
};
struct PointwiseBackward {
  Pointwise op;
  View a, b, y, dy;
  Gradient da, db;  // each may be absent
  double alpha = 0;
};

// Losses end a tape: loss and gradient come from one launch. dlogits = loss_scale * d loss / d
// logits. loss = mean over N*C of w_pos*y*softplus(-z) + w_neg*(1-y)*softplus(z); an unknown label
// (NaN) adds 0 to the sum. Of a part of a batch: its share of the mean over `batch` images.
struct SigmoidCrossEntropy {
  View logits, labels;                    // [N,C]; labels 0..1 or NaN
  View positive_weight, negative_weight;  // [C]; absent means 1
  View loss, dlogits;                     // [1], [N,C]; dlogits may be absent
  int64_t batch = 0;                      // REQUIRES N, or more
  const StepState* state = nullptr;       // loss_scale; null means 1
  View workspace;
};
// loss = mean over N (`batch`, as above) of log sum exp(z) - z[label]
struct SoftmaxCrossEntropy {
  View logits, labels;  // [N,C], i32 [N]
  View loss, dlogits;
  int64_t batch = 0;
  const StepState* state = nullptr;
  View workspace;
};

// One decoded image of a batch and how to cut it: plain data, drawn by data/, the same on every
// device. Order: affine map, crop, mirror, shift of colour, normalisation (kernels/augment.h).
struct AugmentItem {
  int64_t offset;                      // of its first byte in `pixels`; HWC
  int32_t height, width, channels;     // channels 1 is spread over those of y
  int32_t crop_y, crop_x;              // REQUIRES 0 <= crop and crop + window <= size
  int32_t mirror;                      // 1: left and right exchanged
  int32_t hue, lightness, saturation;  // added in 8-bit HLS (hue 0..180); all 0: untouched
  int32_t transform;                   // 1: pixel (x,y) comes from the place affine * (x,y,1)
  float affine[6];                     // two rows; a map of the picture onto its own size
  int32_t border;                      // level outside the picture, 0..255
  int32_t reserved;
};
// y[n,i,j,c] = (pixel - mean[c]) / std[c]
struct Augment {
  View pixels, items;                       // u8 [bytes], u8 [N * sizeof(AugmentItem)]
  View y;                                   // [N,h,w,c]
  float mean[3], std[3];                    // in 0..255
  const AugmentItem* host_items = nullptr;  // the same items where the host reads them, to check
};
// Separable, rows first, as kernels/resize.h has it.
struct Resize {
  View x, y;  // u8 [N,H,W,C], u8 [N,h,w,C]; C 1 to 4
  bool antialias = true;
  View workspace;
};

// One parameter tensor as the optimizer sees it: plain pointers on the device.
struct ParameterUpdate {
  void* value;              // f32 (f64 in the oracle), the master
  const void* gradient;     // of dtype gradient_dtype, scaled by loss_scale
  void *moment1, *moment2;  // as value; null where the method has none
  void* working;            // the copy that kernels read, null where it is the master itself
  int64_t count;
  Dtype dtype, gradient_dtype, working_dtype;
  double weight_decay;
  int64_t first_chunk;  // elements of the items before it, in chunks of kParameterChunk each
};
inline constexpr int64_t kParameterChunk = 4096;
// One pass over all gradients: state.gradient_norm (unscaled), state.first_bad, then
// StepState::check().
struct GradientCheck {
  const ParameterUpdate* items;         // as the host reads them...
  const ParameterUpdate* device_items;  // ...and the same array in the device's memory
  int64_t count;
  StepState* state;
  ScalerPolicy scaler;
  View workspace;
};
enum class OptimizerKind : int32_t { sgd, nag, adam, rmsprop };
struct OptimizerStep {  // does nothing where state.good is 0
  OptimizerKind kind;
  const ParameterUpdate *items, *device_items;
  int64_t count;
  const StepState* state;
  double learning_rate, momentum, beta_1, beta_2, eps, gamma;
  double clip_norm;  // 0: no clipping
};

struct Fill {
  View y;
  double value = 0;
};
struct Convert {  // y = x, or y += x, between any two float dtypes
  View x;
  Gradient y;
};

template <class Args>
struct Kernel {
  const char* name;
  Status (*run)(Stream, const Args&) = nullptr;
  size_t (*workspace)(const Args&) =
      nullptr;  // bytes that run() needs in args.workspace; null: none
};

struct Kernels {
  Kernel<ConvolutionForward> convolution_forward{"convolution_forward"};
  Kernel<ConvolutionBackwardData> convolution_backward_data{"convolution_backward_data"};
  Kernel<ConvolutionBackwardWeights> convolution_backward_weights{"convolution_backward_weights"};
  Kernel<BatchNormForward> batch_norm_forward{"batch_norm_forward"};
  Kernel<BatchNormBackward> batch_norm_backward{"batch_norm_backward"};
  Kernel<BatchNormInference> batch_norm_inference{"batch_norm_inference"};
  Kernel<MaxPoolForward> max_pool_forward{"max_pool_forward"};
  Kernel<MaxPoolBackward> max_pool_backward{"max_pool_backward"};
  Kernel<GlobalAveragePoolForward> global_average_pool_forward{"global_average_pool_forward"};
  Kernel<GlobalAveragePoolBackward> global_average_pool_backward{"global_average_pool_backward"};
  Kernel<LinearForward> linear_forward{"linear_forward"};
  Kernel<LinearBackward> linear_backward{"linear_backward"};
  Kernel<PointwiseForward> pointwise_forward{"pointwise_forward"};
  Kernel<PointwiseBackward> pointwise_backward{"pointwise_backward"};
  Kernel<SigmoidCrossEntropy> sigmoid_cross_entropy{"sigmoid_cross_entropy"};
  Kernel<SoftmaxCrossEntropy> softmax_cross_entropy{"softmax_cross_entropy"};
  Kernel<Augment> augment{"augment"};
  Kernel<Resize> resize{"resize"};
  Kernel<GradientCheck> gradient_check{"gradient_check"};
  Kernel<OptimizerStep> optimizer_step{"optimizer_step"};
  Kernel<Fill> fill{"fill"};
  Kernel<Convert> convert{"convert"};
};

struct DeviceProperties {
  char name[128];      // as a person knows it: "AMD EPYC, avx512"
  size_t memory;       // bytes, in all
  int threads;         // compute threads; 1 where the notion does not apply
  bool host_readable;  // the host may read and write the device's memory
};

// Memory, streams and events. `copy` is asynchronous on its stream, in any direction; the host's
// side should come from allocate_host, else the call may wait. Entries after `wait_on_host` may be
// null: the device has no such thing.
struct Device {
  Status (*properties)(DeviceProperties*) = nullptr;
  Status (*set_threads)(int) = nullptr;
  Status (*allocate)(size_t bytes, void** memory) = nullptr;       // aligned to kAlignment
  Status (*release)(void* memory) = nullptr;                       // waits for what still uses it
  Status (*allocate_host)(size_t bytes, void** memory) = nullptr;  // pinned memory of the host
  Status (*release_host)(void* memory) = nullptr;
  Status (*copy)(Stream, void* to, const void* from, size_t bytes) = nullptr;
  Status (*create_stream)(Stream*) = nullptr;
  Status (*destroy_stream)(Stream) = nullptr;
  Status (*synchronize)(Stream) =
      nullptr;  // until all that was asked of it is done; reports its faults
  Status (*create_event)(Event*) = nullptr;
  Status (*destroy_event)(Event) = nullptr;
  Status (*record)(Event, Stream) = nullptr;
  Status (*wait)(Stream, Event) = nullptr;  // the stream goes on after the event
  Status (*wait_on_host)(Event) = nullptr;  // the host goes on after the event
  Status (*elapsed)(Event from, Event to, float* milliseconds) = nullptr;
  void (*push_range)(const char* name) = nullptr;  // names what follows for a profiler...
  void (*pop_range)() = nullptr;                   // ...up to here
  // The backend's own settings, by name: {"conv_table", text of a file}.
  Status (*configure)(const char* setting, const char* value) = nullptr;
  // What it has chosen so far (algorithm, workspace per convolution), a line each, in the form that
  // configure("conv_table") reads. Stands until the next call.
  const char* (*choices)() = nullptr;
};

inline constexpr uint32_t kBackendAbi = 3;  // raised whenever this file or those it includes change
struct Backend {
  uint32_t abi;
  const char* build;  // hash of the sources; host and plugin must agree
  const char* name;
  Device device;
  Kernels kernels;
  Comm comm;  // how this device's ranks meet
};

}  // namespace pneuma

// The one symbol of a plugin; null where it was built for another ABI.
extern "C" const pneuma::Backend* pneuma_backend(uint32_t abi);
