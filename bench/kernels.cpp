// The cpu device's kernels by themselves, without the engine.
//   bench_kernels batch_norm    against the copy bandwidth measured in turn with it
//   bench_kernels convolution   every convolution of ResNet-50, batch 16, 224x224, f32; the same
//   list
//                               in PyTorch: bench/peers/convolution_torch.py
// Times are the least of several rounds; rounds of all candidates alternate.
#include <fmt/format.h>
#include <sys/mman.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "kernels/open_backend.h"

namespace pneuma {
namespace {

const Backend* backend;

void* allocate(size_t bytes) {
  void* memory = nullptr;
  if (!backend->device.allocate(bytes, &memory)) std::abort();
  for (size_t i = 0; i < bytes / 4; ++i)
    static_cast<float*>(memory)[i] = float(i * 2654435761u % 1000) / 500 - 1;
  return memory;
}
View tensor(std::initializer_list<int64_t> dims, Dtype dtype = Dtype::f32) {
  View v{nullptr, {}, int32_t(dims.size()), dtype};
  std::copy(dims.begin(), dims.end(), v.dims);
  v.data = allocate(v.bytes());
  return v;
}
void release(std::initializer_list<View> views) {
  for (const View& v : views) backend->device.release(v.data);
}
void check(const Status& status) {
  if (status) return;
  fmt::print("{}\n", status.message);
  std::exit(4);
}
double seconds(const std::function<void()>& f) {
  const auto start = std::chrono::steady_clock::now();
  f();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}
template <class Args>
std::function<void()> call(const Kernel<Args>& kernel, Args args) {
  if (kernel.workspace) {
    args.workspace = tensor({int64_t(kernel.workspace(args))}, Dtype::u8);
  }
  return [&kernel, args] { check(kernel.run(nullptr, args)); };
}

void copy_halves(char* to, const char* from, size_t bytes) {
#pragma omp parallel for num_threads(2) schedule(static)
  for (int half = 0; half < 2; ++half)
    std::memcpy(to + size_t(half) * bytes / 2, from + size_t(half) * bytes / 2, bytes / 2);
}

void batch_norm(int rounds) {
  const Kernels& k = backend->kernels;
  for (const auto [height, channels] : {std::array<int64_t, 2>{56, 256}, {112, 64}}) {
    const View x = tensor({16, height, height, channels}),
               y = tensor({16, height, height, channels}),
               z = tensor({16, height, height, channels}),
               dz = tensor({16, height, height, channels});
    const View mask = tensor({x.count() / 8}, Dtype::u8);
    const View c[] = {tensor({channels}), tensor({channels}), tensor({channels}),
                      tensor({channels}), tensor({channels}), tensor({channels})};
    struct Row {
      const char* name;
      double passes;  // over the tensor, reads and writes
      std::function<void()> run;
      double best = 1e9;
    };
    std::vector<Row> rows = {
        {"copy", 2, [&] { copy_halves(y.as<char>(), x.as<char>(), x.bytes()); }},
        {"forward + relu", 3,
         call(k.batch_norm_forward,
              {x, {}, c[0], c[1], y, mask, c[2], c[3], c[4], c[5], {}, 1e-5, .1, true})},
        {"forward + add + relu", 4,
         call(k.batch_norm_forward,
              {x, z, c[0], c[1], y, mask, c[2], c[3], c[4], c[5], {}, 1e-5, .1, true})},
        {"backward + relu", 5,
         call(k.batch_norm_backward, {z, x, mask, c[0], c[2], c[3], {y}, {}, {c[4]}, {c[5]}, {}})},
        {"backward + relu + add", 6,
         call(k.batch_norm_backward,
              {z, x, mask, c[0], c[2], c[3], {y}, {dz}, {c[4]}, {c[5]}, {}})}};
    for (int i = 0; i < rounds; ++i)
      for (Row& row : rows) row.best = std::min(row.best, seconds(row.run));
    fmt::print("16 x {} x {} x {}\n", height, height, channels);
    const double copied = 2 * double(x.bytes()) / rows[0].best;
    for (const Row& row : rows) {
      const double rate = row.passes * double(x.bytes()) / row.best;
      fmt::print("  {:24} {:7.2f} ms {:7.1f} GB/s  {:.2f} of copy\n", row.name, 1e3 * row.best,
                 rate / 1e9, rate / copied);
    }
    release({x, y, z, dz, mask, c[0], c[1], c[2], c[3], c[4], c[5]});
  }
}

struct Shape {
  int64_t size, in, out, kernel, stride, count;
};
// Every distinct convolution of ResNet-50 v1.5 at 224, and how often it stands there.
const Shape kResNet50[] = {
    {224, 3, 64, 7, 2, 1},    {56, 64, 64, 1, 1, 1},     {56, 256, 64, 1, 1, 2},
    {56, 64, 64, 3, 1, 3},    {56, 64, 256, 1, 1, 4},    {56, 256, 128, 1, 1, 1},
    {56, 128, 128, 3, 2, 1},  {56, 256, 512, 1, 2, 1},   {28, 128, 512, 1, 1, 4},
    {28, 512, 128, 1, 1, 3},  {28, 128, 128, 3, 1, 3},   {28, 512, 256, 1, 1, 1},
    {28, 256, 256, 3, 2, 1},  {28, 512, 1024, 1, 2, 1},  {14, 256, 1024, 1, 1, 6},
    {14, 1024, 256, 1, 1, 5}, {14, 256, 256, 3, 1, 5},   {14, 1024, 512, 1, 1, 1},
    {14, 512, 512, 3, 2, 1},  {14, 1024, 2048, 1, 2, 1}, {7, 512, 2048, 1, 1, 3},
    {7, 2048, 512, 1, 1, 2},  {7, 512, 512, 3, 1, 2}};

void convolution(int rounds) {
  const Kernels& k = backend->kernels;
  double total[3] = {}, flops[3] = {};
  fmt::print(
      "size   in  out kernel stride   x | ms and GFLOP/s: forward, backward data, weights\n");
  for (const Shape& s : kResNet50) {
    const int padding = int(s.kernel / 2), stride = int(s.stride);
    const int64_t out = (s.size + 2 * padding - s.kernel) / s.stride + 1;
    const View x = tensor({16, s.size, s.size, s.in}), y = tensor({16, out, out, s.out}),
               w = tensor({s.out, s.kernel, s.kernel, s.in});
    const std::function<void()> passes[] = {
        call(k.convolution_forward, {x, w, y, stride, padding, {}}),
        s.in == 3 ? std::function<void()>([] {})
                  : call(k.convolution_backward_data, {y, w, {x}, stride, padding, {}}),
        call(k.convolution_backward_weights, {x, y, {w}, stride, padding, {}})};
    double best[3] = {1e9, 1e9, 1e9};
    for (int i = 0; i < rounds; ++i)
      for (int p = 0; p < 3; ++p) best[p] = std::min(best[p], seconds(passes[p]));
    const double work = 2.0 * double(y.count() * s.in * s.kernel * s.kernel);
    fmt::print("{:4} {:4} {:4} {:6} {:6} {:3} |", s.size, s.in, s.out, s.kernel, s.stride, s.count);
    for (int p = 0; p < 3; ++p) {
      fmt::print(" {:7.2f} {:6.0f}", 1e3 * best[p], s.in == 3 && p == 1 ? 0 : work / best[p] / 1e9);
      total[p] += double(s.count) * best[p];
      flops[p] += s.in == 3 && p == 1 ? 0 : double(s.count) * work;
    }
    fmt::print("\n");
    release({x, y, w});
  }
  fmt::print(
      "all: forward {:.0f} ms {:.0f} GFLOP/s, backward data {:.0f} ms {:.0f}, weights {:.0f} ms "
      "{:.0f}, "
      "together {:.0f} ms\n",
      1e3 * total[0], flops[0] / total[0] / 1e9, 1e3 * total[1], flops[1] / total[1] / 1e9,
      1e3 * total[2], flops[2] / total[2] / 1e9, 1e3 * (total[0] + total[1] + total[2]));
}

}  // namespace
}  // namespace pneuma

int main(int argc, char** argv) {
  using namespace pneuma;
  const std::string what = argc > 1 ? argv[1] : "";
  std::string why;
  backend = open_backend("cpu", &why);
  if (!backend || (what != "batch_norm" && what != "convolution")) {
    fmt::print("usage: bench_kernels batch_norm|convolution [ROUNDS]  {}\n", why);
    return 2;
  }
  DeviceProperties properties;
  check(backend->device.properties(&properties));
  fmt::print("{}\n", properties.name);
  const int rounds = argc > 2 ? std::atoi(argv[2]) : 7;
  what == "batch_norm" ? batch_norm(rounds) : convolution(rounds);
}
