// In f16 and bf16 every device has the bits that the reference emulates, wherever a kernel is made
// of + - * / sqrt max and casts and nothing is summed in an order of its own: pointwise formulas,
// convert, max pool, fill, augment and the update. exp and log: within one step of the stored
// format. What is summed stands in tests/ops. Inputs are large: every pattern of 16 bits, and of
// f32 what lies at and around the ties between them.
#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <cstring>

#include "engine/context.h"
#include "engine/random.h"
#include "kernels/half.h"
#include "kernels/pointwise.h"
#include "kernels/reference/table.h"
#include "tests/devices.h"
#include "tests/host_cuda_watch.h"

namespace pneuma::testing {
namespace {

constexpr Dtype kFormats[] = {Dtype::f16, Dtype::bf16},
                kStorage[] = {Dtype::f32, Dtype::f16, Dtype::bf16};
constexpr int64_t kPatterns = 1 << 16;
constexpr int64_t kLarge = 3 * kPatterns + 5;  // the last vector of a tensor is not whole

uint16_t bits_of(float value, Dtype dtype) {
  return dtype == Dtype::f16 ? bits_of_half(value) : bits_of_bfloat16(value);
}

// A tensor as the host sees it.
struct Values {
  Dtype dtype;
  std::vector<uint8_t> bytes;

  Values(Dtype t, int64_t count) : dtype(t), bytes(size_t(count) * size_of(t)) {}
  int64_t count() const { return int64_t(bytes.size() / size_of(dtype)); }
  template <class T>
  T& at(int64_t i) {
    return reinterpret_cast<T*>(bytes.data())[i];
  }
  template <class T>
  const T& at(int64_t i) const {
    return reinterpret_cast<const T*>(bytes.data())[i];
  }
  float value(int64_t i) const {
    return dtype == Dtype::f32   ? at<float>(i)
           : dtype == Dtype::f16 ? float_of_half(at<uint16_t>(i))
                                 : float_of_bfloat16(at<uint16_t>(i));
  }
  void set(int64_t i, float v) {
    if (dtype == Dtype::f32)
      at<float>(i) = v;
    else
      at<uint16_t>(i) = bits_of(v, dtype);
  }
};

// Every pattern of 16 bits, each `kLarge / kPatterns` times, in an order that two seeds do not
// share: subnormals, infinities, NaNs, the largest numbers. In f32 they are the upper half, and the
// lower one stands on a tie of one of the formats, beside it, or anywhere.
Values patterns(Dtype dtype, uint64_t seed, int64_t count = kLarge) {
  Random random(seed, Purpose::test);
  Values v(dtype, count);
  const uint32_t step = random.below(kPatterns / 2) * 2 + 1, first = random.below(kPatterns);
  for (int64_t i = 0; i < count; ++i) {
    const uint32_t pattern = (uint32_t(i) * step + first) % kPatterns;
    if (dtype != Dtype::f32) {
      v.at<uint16_t>(i) = uint16_t(pattern);
      continue;
    }
    const uint32_t tie = random.below(2) ? 0x8000 : 0x1000 * random.below(16);
    const uint32_t low =
        random.below(4) == 0 ? random.below(kPatterns) : (tie + random.below(3) - 1) % kPatterns;
    v.at<uint32_t>(i) = pattern << 16 | low;
  }
  return v;
}

Values draw(Dtype dtype, uint64_t seed, int64_t count, double low, double high) {
  Random random(seed, Purpose::test);
  Values v(dtype, count);
  for (int64_t i = 0; i < count; ++i) v.set(i, float(random.uniform(low, high)));
  return v;
}

// A device that runs a kernel on copies of the inputs.
struct On {
  Context ctx;
  explicit On(const Backend& backend) : ctx(backend) {}
  Tensor put(const Values& v, Shape shape = {}) {
    const Tensor t = ctx.persistent(shape.rank ? shape : Shape{v.count()}, v.dtype);
    ctx.upload(t, v.bytes.data(), v.bytes.size());
    return t;
  }
  Tensor bytes(const void* data, size_t size) {
    const Tensor t = ctx.persistent({int64_t(size)}, Dtype::u8);
    ctx.upload(t, data, size);
    return t;
  }
};
using Tensors = std::vector<Tensor>;

// 0 for equal bits, and for any two NaNs; else how many numbers of the format lie between, and 1.
int64_t steps_between(const Values& a, const Values& b, int64_t i) {
  if (a.dtype == Dtype::u8) return std::abs(a.at<uint8_t>(i) - b.at<uint8_t>(i));
  if (std::isnan(a.value(i)) && std::isnan(b.value(i))) return 0;
  if (std::isnan(a.value(i)) || std::isnan(b.value(i))) return INT64_MAX;
  const auto place = [&](const Values& v) {
    if (v.dtype == Dtype::f32) {
      const uint32_t bits = v.at<uint32_t>(i);
      return bits >> 31 ? -1 - int64_t(bits & 0x7fffffff) : int64_t(bits);
    }
    const uint16_t bits = v.at<uint16_t>(i);
    return bits >> 15 ? -1 - int64_t(bits & 0x7fff) : int64_t(bits);
  };
  return std::abs(place(a) - place(b));
}

// Runs `op` on every device and on the reference: all results within `steps` of the format.
void check(const std::function<Tensors(On&)>& op, int64_t steps = 0) {
  const auto results = [&](const Backend& backend) {
    HostCudaWatch watch(backend);
    On on(backend);
    std::vector<Values> all;
    for (const Tensor& t : op(on)) {
      all.emplace_back(t.dtype(), t.shape().count());
      on.ctx.download(all.back().bytes.data(), t, t.bytes());
    }
    CHECK(watch.fault() == "");
    return all;
  };
  const std::vector<Values> expected = results(reference_backend());
  for (const Backend* device : devices()) {
    CAPTURE(std::string(device->name));
    const std::vector<Values> got = results(*device);
    for (size_t k = 0; k < expected.size(); ++k) {
      CAPTURE(k);
      int64_t wrong = 0, where = 0;
      for (int64_t i = 0; i < expected[k].count(); ++i)
        if (steps_between(got[k], expected[k], i) > steps && !wrong++) where = i;
      CHECK_MESSAGE(wrong == 0, wrong << " differ, the first at " << where << ": "
                                      << got[k].value(where) << ", the emulation's "
                                      << expected[k].value(where));
    }
  }
}

}  // namespace

TEST_CASE("pointwise formulas have the emulation's bits, exp within one step") {
  for (const Dtype t : kFormats) {
    const Values a = patterns(t, 1), b = patterns(t, 2), dy = patterns(t, 3), old = patterns(t, 4);
    for (const Pointwise op : {Pointwise::relu, Pointwise::scale, Pointwise::add,
                               Pointwise::multiply, Pointwise::sigmoid})
      for (const double alpha : {0.7, -3e4}) {
        CAPTURE(std::string(name_of(t)));
        CAPTURE(int(op));
        const bool exponential = op == Pointwise::sigmoid;
        const bool two = op == Pointwise::add || op == Pointwise::multiply;
        check(
            [&](On& on) {
              const Tensor x = on.put(a), z = on.put(b), y = on.put(old);
              on.ctx.run(&Kernels::pointwise_forward,
                         {op, x.view(), two ? z.view() : View(), y.view(), alpha});
              return Tensors{y};
            },
            exponential);
        check([&](On& on) {  // of any y, so that sigmoid's gradient has no exp
          const Tensor x = on.put(a), z = on.put(b), y = on.put(b), d = on.put(dy),
                       da = on.put(old), db = on.put(old);
          on.ctx.run(&Kernels::pointwise_backward, {op,
                                                    x.view(),
                                                    two ? z.view() : View(),
                                                    y.view(),
                                                    d.view(),
                                                    {da.view(), false},
                                                    {db.view(), true},
                                                    alpha});
          return two ? Tensors{da, db} : Tensors{da};
        });
      }
  }
}

TEST_CASE("convert and fill have the emulation's bits") {
  for (const Dtype to : kStorage) {
    CAPTURE(std::string(name_of(to)));
    for (const Dtype from : kStorage)
      for (const bool add : {false, true}) {
        CAPTURE(std::string(name_of(from)));
        const Values x = patterns(from, 1), old = patterns(to, 2);
        check([&](On& on) {
          const Tensor y = on.put(old), from_x = on.put(x);
          on.ctx.run(&Kernels::convert, {from_x.view(), {y.view(), add}});
          return Tensors{y};
        });
      }
    for (const double value : {0.0, -0.0, 1 + 0x1p-11, 1 + 0x3p-11, 1 + 0x1p-8, 0x1.8p-25, 65520.0,
                               65519.9, 3.4e38, -1e-40, double(INFINITY), double(NAN)})
      check([&](On& on) {
        const Tensor y = on.put(patterns(to, 2, 1037));
        on.ctx.run(&Kernels::fill, {y.view(), value});
        return Tensors{y};
      });
  }
}

TEST_CASE("max pool has the emulation's bits") {
  constexpr int64_t kN = 2, kSide = 41;
  for (const Dtype t : kFormats)
    for (const int64_t channels : {24, 5})
      for (const auto [kernel, stride, padding] :
           {std::array{3, 2, 1}, std::array{2, 2, 0}, std::array{3, 1, 1}}) {
        CAPTURE(std::string(name_of(t)));
        CAPTURE(kernel);
        CAPTURE(channels);
        const int64_t side = (kSide + 2 * padding - kernel) / stride + 1;
        const Shape whole{kN, kSide, kSide, channels}, pooled{kN, side, side, channels};
        const Values x = patterns(t, 1, whole.count());
        // Windows that overlap add up to nine numbers: those of few bits, and infinities, have one
        // sum in any order. A window by itself takes any.
        Values dy = patterns(t, 2, pooled.count());
        const Values sevenths = draw(t, 3, pooled.count(), -64, 64);
        for (int64_t i = 0; stride < kernel && i < dy.count(); ++i)
          if (std::isfinite(dy.value(i))) dy.set(i, std::round(sevenths.value(i)));
        const Values old = draw(t, 4, whole.count(), -2, 2);
        for (const bool add : {false, true})
          check([&](On& on) {
            const Tensor in = on.put(x, whole), gradient = on.put(dy, pooled),
                         y = on.ctx.persistent(pooled, t),
                         argmax = on.ctx.persistent(pooled, Dtype::u8), dx = on.put(old, whole);
            on.ctx.run(&Kernels::max_pool_forward,
                       {in.view(), y.view(), argmax.view(), kernel, stride, padding});
            on.ctx.run(&Kernels::max_pool_backward,
                       {gradient.view(), argmax.view(), {dx.view(), add}, kernel, stride, padding});
            return Tensors{y, argmax, dx};
          });
      }
}

TEST_CASE("the update has the emulation's bits: masters, moments, copies") {
  constexpr int64_t kCounts[] = {kPatterns + 3, 1, 4099};
  for (const OptimizerKind kind :
       {OptimizerKind::sgd, OptimizerKind::nag, OptimizerKind::adam, OptimizerKind::rmsprop})
    for (const Dtype t : kFormats)
      for (const double clip : {0.0, 0.5})
        for (const int64_t good : {1, 0}) {
          CAPTURE(int(kind));
          CAPTURE(std::string(name_of(t)));
          CAPTURE(clip);
          check([&](On& on) {
            Tensors all;
            std::vector<ParameterUpdate> items;
            int64_t chunks = 0;
            for (uint64_t k = 0; k < std::size(kCounts); ++k) {
              const int64_t n = kCounts[k];
              Values w = patterns(Dtype::f32, 10 + k, n), v = draw(Dtype::f32, 20 + k, n, 0, 1e-3);
              // Of a third the copies overflow f16 or bf16, of another they are subnormal.
              for (int64_t i = 0; i < n; ++i)
                if (i % 3) w.set(i, v.value(i) * (i % 2 ? 6.6e7f : 1e-2f));
              const Values g = patterns(k == 1 ? Dtype::f32 : t, 30 + k, n);
              const Values m =
                  draw(Dtype::f32, 40 + k, n, kind == OptimizerKind::rmsprop ? 0 : -1, 1);
              const size_t first = all.size();
              for (const Values& values : {w, m, v}) all.push_back(on.put(values));
              all.push_back(on.ctx.persistent({n}, k == 2 ? kFormats[t == Dtype::f16] : t));
              all.push_back(on.put(g));
              items.push_back({all[first].data<void>(), all[first + 4].data<void>(),
                               all[first + 1].data<void>(), all[first + 2].data<void>(),
                               all[first + 3].data<void>(), n, Dtype::f32, g.dtype,
                               all[first + 3].dtype(), k ? 0.01 : 0.0, chunks});
              chunks += (n + kParameterChunk - 1) / kParameterChunk;
            }
            StepState state;
            state.gradient_scale = 1024;
            state.gradient_norm = 3.7;
            state.step = 7;
            state.good = good;
            const Tensor there = on.bytes(&state, sizeof state),
                         list = on.bytes(items.data(), items.size() * sizeof items[0]);
            on.ctx.run(&Kernels::optimizer_step,
                       {kind, items.data(), list.data<ParameterUpdate>(), int64_t(items.size()),
                        there.data<StepState>(), 1e-3, 0.9, 0.9, 0.999, 1e-8, 0.9, clip});
            return all;
          });
        }
}

TEST_CASE("augment has the emulation's bits") {
  constexpr int32_t kSide = 96;
  constexpr int64_t kOut = 80;
  std::vector<AugmentItem> items;
  std::vector<uint8_t> pixels;
  Random random(1, Purpose::test);
  for (int32_t k = 0; k < 6; ++k) {
    items.push_back(
        {int64_t(pixels.size()), kSide, kSide, k % 2 ? 3 : 1, 3 * k, 16 - k, k / 2 % 2});
    AugmentItem& item = items.back();
    if (k > 1) item.hue = 30 * k, item.lightness = 20 - 9 * k, item.saturation = 15 * k;
    item.transform = k > 2;
    const float turn = 0.1f * float(k);
    const float map[] = {std::cos(turn), -std::sin(turn), 9, std::sin(turn), std::cos(turn), -7};
    std::memcpy(item.affine, map, sizeof map);
    item.border = 40 * k;
    for (int32_t i = 0; i < kSide * kSide * item.channels; ++i)
      pixels.push_back(uint8_t(random.below(256)));
  }
  for (const Dtype t : kFormats)
    check([&](On& on) {
      const Tensor levels = on.bytes(pixels.data(), pixels.size()),
                   list = on.bytes(items.data(), items.size() * sizeof items[0]),
                   y = on.ctx.persistent({int64_t(items.size()), kOut, kOut, 3}, t);
      on.ctx.run(&Kernels::augment, {levels.view(),
                                     list.view(),
                                     y.view(),
                                     {123.675f, 116.28f, 103.53f},
                                     {58.395f, 57.12f, 57.375f},
                                     items.data()});
      return Tensors{y};
    });
}

// Labels of 0 and 1, for which dlogits is one product and nothing cancels.
TEST_CASE("the gradients of losses are within one step of the emulation's") {
  constexpr int64_t kRows = 512, kClasses = 14;
  for (const Dtype t : kFormats) {
    CAPTURE(std::string(name_of(t)));
    const Values z = draw(t, 1, kRows * kClasses, -90, 90), weight = draw(Dtype::f32, 2, 14, 1, 20);
    Values labels = draw(Dtype::f32, 3, kRows * kClasses, -1, 1);
    for (int64_t i = 0; i < labels.count(); ++i)
      labels.set(i, i % 5 == 0 ? NAN : float(labels.value(i) > 0));
    StepState state;
    state.loss_scale = 65536;
    check(
        [&](On& on) {
          const Shape shape{kRows, kClasses};
          const Tensor logits = on.put(z, shape), y = on.put(labels, shape), w = on.put(weight),
                       loss = on.ctx.persistent({1}, Dtype::f32),
                       dlogits = on.ctx.persistent(shape, t),
                       there = on.bytes(&state, sizeof state);
          on.ctx.run(&Kernels::sigmoid_cross_entropy, {logits.view(),
                                                       y.view(),
                                                       w.view(),
                                                       {},
                                                       loss.view(),
                                                       dlogits.view(),
                                                       kRows,
                                                       there.data<StepState>(),
                                                       {}});
          return Tensors{dlogits};
        },
        1);
  }
}

}  // namespace pneuma::testing
