// The cpu device's convolution, linear and convert against the reference; the choice of the
// instruction set; the errors; the cache.
#include <cstdio>
#include <filesystem>
#include <string>

#include "kernels/cpu/convolution.h"
#include "kernels/pointwise.h"
#include "tests/kernels/cpu_check.h"

namespace pneuma::testing {

// Every number of 16 bits, and what lies between any two of them: ties, subnormals, overflow, NaN.
TEST_CASE("convert has the bits of the reference between any two dtypes") {
  constexpr int64_t kNumbers = 1 << 16;
  for (const Dtype from : kStorage) {
    Tensor x(std::vector<int64_t>{from == Dtype::f32 ? 7 * kNumbers : kNumbers}, from);
    for (int64_t i = 0; i < x.count(); ++i)
      if (from == Dtype::f32)  // next to and between numbers of either format
        reinterpret_cast<uint32_t*>(x.memory.get())[i] =
            (uint32_t(i / 7) << 16 | (i % 2 ? 0x8000u : 0x1000u * uint32_t(i % 16))) +
            uint32_t(i % 7) - 3;
      else
        reinterpret_cast<uint16_t*>(x.memory.get())[i] = uint16_t(i);
    // A NaN of f32 may carry any payload, one of 16 bits has none.
    const auto same = [&](const Tensor& a, const Tensor& b) {
      int64_t wrong = 0;
      for (int64_t i = 0; i < a.count(); ++i)
        wrong +=
            std::memcmp(a.memory.get() + size_t(i) * size_of(a.dtype),
                        b.memory.get() + size_t(i) * size_of(a.dtype), size_of(a.dtype)) != 0 &&
            !(a.dtype == Dtype::f32 && std::isnan(a.at(i)) && std::isnan(b.at(i)));
      return wrong == 0;
    };
    for (const Dtype to : kStorage)
      for (const bool add : {false, true})
        for (const Named& isa : instruction_sets()) {
          CAPTURE(isa.name);
          CAPTURE(name_of(from));
          CAPTURE(name_of(to));
          const Tensor old = stored(uniform(x.dims), to), y = old.copy(), expected = old.copy();
          REQUIRE(call(isa.kernels.convert, {x.view(), {y.view(), add}}));
          REQUIRE(call(reference_backend().kernels.convert, {x.view(), {expected.view(), add}}));
          CHECK(same(y, expected));
        }
  }
}

TEST_CASE("convolution and linear") {
  if (!cpu_backend().kernels.convolution_forward.run) return;
  struct Case {
    std::vector<int64_t> x, w;
    int stride, padding;
  };
  for (const Case& c :
       {Case{{2, 17, 13, 3}, {16, 7, 7, 3}, 2, 3}, Case{{2, 9, 9, 64}, {32, 1, 1, 64}, 1, 0},
        Case{{3, 8, 7, 32}, {48, 3, 3, 32}, 1, 1}, Case{{2, 8, 8, 32}, {64, 3, 3, 32}, 2, 1},
        Case{{2, 7, 8, 33}, {5, 1, 1, 33}, 2, 0}, Case{{1, 6, 6, 5}, {7, 3, 3, 5}, 3, 2}}) {
    const auto out = [&](int i) {
      return (c.x[size_t(i)] + 2 * c.padding - c.w[size_t(i)]) / c.stride + 1;
    };
    const std::vector<int64_t> ys = {c.x[0], out(1), out(2), c.w[0]};
    for (const Dtype t : kStorage)
      for (const bool add : {false, true}) {
        const Tensor x = stored(uniform(c.x), t), w = stored(uniform(c.w), t),
                     dy = stored(uniform(ys), t), old_x = stored(uniform(c.x), t),
                     old_w = stored(uniform(c.w), t);
        check(
            [&](const Kernels& k) {
              const Tensor y(ys, t), dx = old_x.copy(), dw = old_w.copy();
              REQUIRE(call(k.convolution_forward,
                           {x.view(), w.view(), y.view(), c.stride, c.padding, {}}));
              REQUIRE(call(k.convolution_backward_data,
                           {dy.view(), w.view(), {dx.view(), add}, c.stride, c.padding, {}}));
              REQUIRE(call(k.convolution_backward_weights,
                           {x.view(), dy.view(), {dw.view(), add}, c.stride, c.padding, {}}));
              return std::vector<Tensor>{y, dx, dw};
            },
            16 * kEps, false);
      }
  }
  for (const Dtype t : kStorage)
    for (const bool add : {false, true}) {
      const Tensor x = stored(uniform({5, 33}), t), w = stored(uniform({14, 33}), t),
                   b = uniform({14}), dy = stored(uniform({5, 14}), t);
      check(
          [&](const Kernels& k) {
            const Tensor y({5, 14}, t), dx = x.copy(), dw = w.copy(), db = b.copy();
            REQUIRE(call(k.linear_forward, {x.view(), w.view(), b.view(), y.view(), {}}));
            REQUIRE(call(k.linear_backward, {dy.view(),
                                             x.view(),
                                             w.view(),
                                             {dx.view(), add},
                                             {dw.view(), add},
                                             {db.view(), add},
                                             {}}));
            return std::vector<Tensor>{y, dx, dw, db};
          },
          16 * kEps, false);
    }
}

TEST_CASE("wrong shapes get a status") {
  const Kernels& k = cpu_backend().kernels;
  const Tensor x = uniform({2, 4, 4, 8}), y({2, 4, 4, 9}), c({8});
  CHECK(k.batch_norm_forward
            .run(nullptr,
                 {x.view(), {}, {}, c.view(), y.view(), {}, c.view(), c.view(), c.view(), c.view()})
            .code == StatusCode::invalid);
  CHECK(k.batch_norm_forward  // no workspace
            .run(nullptr,
                 {x.view(), {}, {}, c.view(), x.view(), {}, c.view(), c.view(), c.view(), c.view()})
            .code == StatusCode::invalid);
  View half = x.view(), twice = x.view();
  half.dtype = Dtype::f16;
  twice.dtype = Dtype::f64;
  CHECK(k.pointwise_forward.run(nullptr, {Pointwise::add, x.view(), half, x.view()}).code ==
        StatusCode::unsupported);
  CHECK(k.convert.run(nullptr, {x.view(), {twice}}).code == StatusCode::unsupported);
  CHECK(k.max_pool_forward.run(nullptr, {x.view(), x.view(), x.view()}).code ==
        StatusCode::invalid);
  if (!k.convolution_forward.run) return;
  CHECK(k.convolution_forward.run(nullptr, {x.view(), x.view(), y.view(), 1, 0, {}}).code ==
        StatusCode::invalid);
  const Tensor w = uniform({9, 1, 1, 8});
  CHECK(k.convolution_forward.run(nullptr, {half, w.view(), y.view(), 1, 0, {}}).code ==
        StatusCode::unsupported);
  CHECK(k.convolution_forward.run(nullptr, {x.view(), w.view(), y.view(), 2, 0, {}}).code ==
        StatusCode::invalid);
}

#ifdef PNEUMA_ONEDNN
TEST_CASE("the cache of primitives is bounded") {
  for (int64_t n = 1; n <= int64_t(onednn::kMaxOperations) + 20; ++n)
    cpu_backend().kernels.linear_forward.workspace(
        {Tensor({n, 2}).view(), Tensor({3, 2}).view(), {}, Tensor({n, 3}).view(), {}});
  CHECK(onednn::cached_operations() == onednn::kMaxOperations);
}
#endif

TEST_CASE("prints the device's name") {  // what the next case starts
  DeviceProperties p;
  const Status status = cpu_backend().device.properties(&p);
  std::printf("DEVICE %s|%s\n", p.name, status.message);
}

TEST_CASE("PNEUMA_CPU_ISA forces an instruction set, and the name says what is emulated") {
  const auto device_with = [](const std::string& environment) {
    const std::string program = std::filesystem::read_symlink("/proc/self/exe");
    FILE* pipe = popen((environment + " " + program + " -tc='prints*'").c_str(), "r");
    std::string text;
    for (char line[256]; std::fgets(line, sizeof line, pipe);) text += line;
    pclose(pipe);
    return text;
  };
  for (const Named& isa : instruction_sets())
    CHECK(device_with(std::string("PNEUMA_CPU_ISA=") + isa.name)
              .find(std::string(", ") + isa.name + ", ") != std::string::npos);
#ifdef PNEUMA_ONEDNN
  CHECK(device_with("ONEDNN_MAX_CPU_ISA=AVX512_CORE").find("bf16 by emulation, ") !=
        std::string::npos);
#endif
  CHECK(device_with("PNEUMA_CPU_ISA=sse9").find("PNEUMA_CPU_ISA must be") != std::string::npos);
}

// An inline function of a header that two instruction sets leave behind would be merged, and run
// where it cannot.
TEST_CASE("no weak symbol in the objects of an instruction set") {
  int objects = 0;
  for (const auto& entry :
       std::filesystem::recursive_directory_iterator(PNEUMA_BIN_DIR "/../kernels/cpu")) {
    const std::string path = entry.path().string();
    if (path.find("/pneuma_cpu_") == std::string::npos || entry.path().extension() != ".o")
      continue;
    ++objects;
    FILE* pipe = popen(("nm -C --defined-only '" + path + "'").c_str(), "r");
    for (char line[1024]; std::fgets(line, sizeof line, pipe);) {
      CAPTURE(path);
      CHECK_MESSAGE(!std::strpbrk(std::string(line).substr(17, 1).c_str(), "WVuvw"), line);
    }
    CHECK(pclose(pipe) == 0);
  }
  CHECK(objects >= 3 * 10);
}

}  // namespace pneuma::testing
