// What our kernels move at ResNet-50's shapes, counted on host_cuda, against the least that they
// could: bytes over the floor of each case (a byte that one block touches again in the same launch
// counts once), and 32-byte sectors over the least that hold the same bytes.
#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <string>

#include "bench/kernels/measure.h"
#include "tests/devices.h"
#include "tests/host_cuda_watch.h"

using namespace pneuma;
using bench::Case;

namespace {

constexpr double kElementwise = 1.05, kBatchNormAndPool = 1.10, kSectors = 1.1;

// The bar on bytes of a kernel; 0: none (a library's, or bound by its launch, or gathering bytes).
double bar_of(const std::string& kernel) {
  if (kernel.starts_with("batch_norm") || kernel.find("pool") != kernel.npos)
    return kBatchNormAndPool;
  for (const char* name : {"pointwise", "convert", "optimizer_step", "gradient_check"})
    if (kernel.starts_with(name)) return kElementwise;
  return 0;
}
// Augment and resize gather, and a row of 14 logits begins anywhere in a sector: what these ask for
// is printed.
bool has_sectors_bar(const std::string& kernel) {
  return kernel != "augment" && kernel != "resize" && kernel != "softmax_cross_entropy";
}

struct Worst {
  double bytes = 0, sectors = 0;
  std::string bytes_at, sectors_at;
};

void check_traffic(int size, int batch, Dtype dtype) {
  if (!std::filesystem::exists(PNEUMA_BIN_DIR "/libpneuma_host_cuda.so")) {
    MESSAGE("SKIPPED: this build has no host_cuda");
    return;
  }
  const Backend& backend = *testing::device_named("host_cuda");
  testing::HostCudaWatch watch(backend);
  host_cuda::Settings settings = watch.before();
  settings.count_traffic = true;
  watch.set(settings);
  Stream stream;
  REQUIRE(backend.device.create_stream(&stream));
  std::map<std::string, Worst> kernels;
  for (const Case& c : bench::cases_of_resnet50(size, batch, dtype)) {
    if (c.kernel.starts_with("convolution")) continue;  // cuDNN's
    CAPTURE(c.name);
    bench::Memory memory(backend, stream);
    const std::vector<View> views = bench::place(memory, c, false);
    REQUIRE(backend.device.synchronize(stream));
    watch.take_launches();
    REQUIRE(c.bind(memory, views)(stream));
    REQUIRE(backend.device.synchronize(stream));
    double bytes = 0, sectors = 0, least = 0;
    for (const host_cuda::LaunchRecord& launch : watch.take_launches()) {
      if (!launch.block[0]) continue;  // a copy, or a library's
      bytes += double(launch.bytes_read + launch.bytes_written);
      sectors += double(launch.sectors);
      least += double(launch.least_sectors);
      if (launch.least_sectors && has_sectors_bar(c.kernel)) {
        CAPTURE(std::string(launch.name));
        CHECK(double(launch.sectors) <= kSectors * double(launch.least_sectors));
      }
    }
    REQUIRE(c.bytes > 0);
    if (bar_of(c.kernel) > 0) CHECK(bytes <= bar_of(c.kernel) * c.bytes);
    Worst& worst = kernels[c.kernel];
    if (bytes / c.bytes > worst.bytes) worst.bytes = bytes / c.bytes, worst.bytes_at = c.name;
    if (least > 0 && sectors / least > worst.sectors)
      worst.sectors = sectors / least, worst.sectors_at = c.name;
  }
  CHECK(watch.fault() == "");
  for (const auto& [kernel, worst] : kernels)
    MESSAGE(kernel << ": bytes / floor at most " << worst.bytes << " (" << worst.bytes_at
                   << "), sectors / least at most " << worst.sectors << " (" << worst.sectors_at
                   << ")");
  CHECK(kernels.size() > 15);
  REQUIRE(backend.device.destroy_stream(stream));
}

}  // namespace

TEST_CASE("bytes and sectors at 224 in f16") { check_traffic(224, 4, Dtype::f16); }
TEST_CASE("bytes and sectors at 224 in f32 and bf16, at 896 in f16 [slow]") {
  check_traffic(224, 4, Dtype::f32);
  check_traffic(224, 4, Dtype::bf16);
  check_traffic(896, 1, Dtype::f16);
}
