#include <cmath>
#include <filesystem>
#include <fstream>

#include "apps/inspect/device_code.h"
#include "apps/inspect/seam_kernels.h"
#include "tests/program.h"

using namespace pneuma;
using testing::Ran;

namespace {

constexpr const char* kProgram = "inspect_cxr";

bool has_plugin() {
  const bool there = std::filesystem::exists(PNEUMA_BIN_DIR "/libpneuma_host_cuda.so");
  if (!there) MESSAGE("skipped: this build has no host_cuda");
  return there;
}

Ran page(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), "kernel");
  return testing::run_program(kProgram, arguments);
}

// The last number of the first line that begins with `what`.
double last_number(const Ran& ran, const std::string& what) {
  const size_t begin = ran.out.find("\n  " + what);
  REQUIRE_MESSAGE(begin != ran.out.npos, what, " is not in:\n", ran.out, ran.err);
  const std::string line = ran.out.substr(begin + 1, ran.out.find('\n', begin + 1) - begin - 1);
  return std::stod(line.substr(line.rfind(' ')));
}

void has(const Ran& ran, const std::string& text) {
  CHECK_MESSAGE(ran.out.find(text) != ran.out.npos, text, " is not in:\n", ran.out, ran.err);
}

}  // namespace

TEST_CASE("a page has every section, and the bytes keep to the floor") {
  if (!has_plugin()) return;
  struct Case {
    std::vector<std::string> arguments;
    double most;
    int launches;
    std::string source;
  };
  const std::string images = "8,28,28,64";
  for (const Case& c : std::vector<Case>{
           {{"batch_norm_forward", "--shape", images}, 1.10, 3, "batch_norm.cuh"},
           {{"batch_norm_backward", "--shape", images, "--dtype", "f16", "--residual"},
            1.10,
            3,
            "batch_norm_backward.cu"},
           {{"pointwise_forward", "--shape", images, "--formula", "add"}, 1.05, 1, "pointwise.cu"},
           {{"optimizer_step", "--shape", "40000", "--dtype", "bf16"},
            1.05,
            1,
            "optimizer_step.cu"}}) {
    CAPTURE(c.arguments[0]);
    const Ran ran = page(c.arguments);
    REQUIRE_MESSAGE(ran.exit == 0, ran.err);
    for (const char* section :
         {"registers  ", "launch  ", "shared memory  ", "occupancy  ", "global memory  ",
          "accesses  ", "bank conflicts  ", "divergence  ", "barriers  ", "source  ", "faults  "})
      has(ran, std::string("\n  ") + section);
    has(ran, "launch " + std::to_string(c.launches) + " of " + std::to_string(c.launches) + ": ");
    has(ran, "kernels/cuda/" + c.source + ":");
    has(ran, "__global__ void __launch_bounds__(kThreads");
    has(ran, "16 bytes ");
    const double moved = last_number(ran, "bytes moved");
    CHECK(moved >= 1);
    CHECK(moved <= c.most);
    CHECK(last_number(ran, "global memory") >= 1);
    CHECK(last_number(ran, "global memory") <= 1.1);
  }
}

TEST_CASE("every kernel of the seam is listed and runs; the floor of one is what paper says") {
  if (!has_plugin()) return;
  const Ran list = page({});
  REQUIRE(list.exit == 0);
  for (const inspect::SeamKernel& k : inspect::seam_kernels()) {
    CAPTURE(std::string(k.name));
    has(list, std::string("\n") + k.name + " ");
    const std::string letters = k.shape;
    const Ran ran =
        page({k.name, "--source", "0", "--shape",
              letters == "N,C"                                                      ? "16,32"
              : k.name == std::string("augment") || k.name == std::string("resize") ? "2,16,16,3"
              : letters == "N,H,W,C"                                                ? "2,8,8,16"
                                                                                    : "1000"});
    CHECK_MESSAGE(ran.exit == 0, ran.err);
    has(ran, "faults          0 found");
    CHECK(ran.out.find("\n  source ") == ran.out.npos);
    if (!k.library) has(ran, "launch 1 of ");
  }
  // Adam with a 16-bit copy: 28 bytes a parameter.
  has(page({"optimizer_step", "--shape", "1000", "--dtype", "f16"}), "the floor 28000:");
  // x read; y and a byte of argmax written: 4 * 2048 + 5 * 512.
  has(page({"max_pool_forward", "--shape", "2,8,8,16"}), "the floor 10752:");
}

TEST_CASE("figures of ptxas are those of the report, or are said to be missing") {
  if (!has_plugin()) return;
  testing::Temporary folder;
  const std::string file = (folder / "sm_70.txt").string();
  std::ofstream(file) << "128 16 8 49152 cuda::fill_kernel<__half>\n";
  const auto fill = [&](const char* dtype) {
    return page({"fill", "--shape", "5000", "--dtype", dtype, "--ptxas", file});
  };
  const Ran known = fill("f16");
  has(known, "128 of a thread, stack 16 bytes, spills 8 bytes");
  has(known, "49152 bytes static, 0 dynamic");
  has(known,
      "512 of 2048 threads on a multiprocessor of a V100, 25.0 %; limited by registers and "
      "shared memory");
  has(fill("f32"), "unknown: " + file + " does not have this kernel; ./pneuma test device_code");
  std::filesystem::remove(file);
  const Ran without = fill("f16");
  has(without, "unknown: " + file + " is not there; ./pneuma test device_code makes it");
  has(without, "at most 2048 of 2048 threads");
  std::ofstream(file) << "no report\n";
  CHECK(fill("f16").said(3, kProgram, ":1: not a line of a ptxas report"));
}

TEST_CASE("what cannot be is one sentence") {
  CHECK(page({"batch_norm_foward", "--shape", "1,2,3,4"})
            .said(2, kProgram, "the nearest is batch_norm_forward"));
  CHECK(page({"nothing at all"}).said(2, kProgram, "'inspect_cxr kernel' lists them"));
  for (const char* shape : {"", "1", "1,2,3", "1,2,3,4,5", "1,2,3,0", "1,2,-3,4", "1,2,3,x",
                            "9999999,9999999,9999999,9999999", "1,2,3,4,"})
    CHECK(page({"batch_norm_forward", "--shape", shape})
              .said(2, kProgram, "batch_norm_forward takes N,H,W,C"));
  CHECK(page({"fill", "--shape", "2,2,2,2,2"}).exit == 2);
  CHECK(page({"fill", "--shape", "2", "--dtype", "f64"}).exit == 2);
  if (!has_plugin()) return;
  CHECK(page({"pointwise_forward", "--shape", "8", "--formula", "tan"})
            .said(2, kProgram, "--formula tan: known are"));
  CHECK(page({"max_pool_forward", "--shape", "1,2,2,8", "--kernel", "9", "--padding", "0"})
            .said(2, kProgram, "does not go with kernel 9"));
  // The program alone, without what lies beside it.
  testing::Temporary folder;
  std::filesystem::create_directory(folder / "bin");
  for (const auto& entry : std::filesystem::directory_iterator(PNEUMA_BIN_DIR))
    if (entry.path().filename() == kProgram || entry.path().filename() == "libdnnl.so.3")
      std::filesystem::copy(entry.path(), folder / "bin" / entry.path().filename());
  const std::string said = (folder / "said").string();
  const int status = std::system(
      ((folder / "bin/inspect_cxr").string() + " kernel fill --shape 8 >/dev/null 2>" + said)
          .c_str());
  CHECK(WEXITSTATUS(status) == 4);
  CHECK(folder.read("said").find("this build has no device 'host_cuda'") != std::string::npos);
}

TEST_CASE("the source of a kernel, wherever it stands") {
  testing::Temporary folder;
  std::filesystem::create_directories(folder / "kernels/cuda");
  std::ofstream(folder / "kernels/cuda/a.cu") << "// A file.\n"
                                                 "void other() { twice_kernel(1); }\n\n"
                                                 "// Doubles.\n"
                                                 "template <class T>\n"
                                                 "__global__ void\n"
                                                 "    twice_kernel(T* x) {\n"
                                                 "  if (x) {\n"
                                                 "    *x *= 2;\n"
                                                 "  }\n"
                                                 "}\n"
                                                 "int after;\n";
  const auto root = folder / "kernels" / "..";
  const auto found = inspect::find_kernel_source(root, "pneuma::cuda::twice_kernel<float>");
  REQUIRE(found);
  CHECK(found->file == "kernels/cuda/a.cu");
  CHECK(found->first_line == 4);
  CHECK(found->lines.size() == 8);
  CHECK(found->lines.back() == "}");
  CHECK_FALSE(inspect::find_kernel_source(root, "ice_kernel"));
  CHECK_FALSE(inspect::find_kernel_source(folder / "nowhere", "twice_kernel"));
}

TEST_CASE("names of host_cuda are those of nvrtc") {
  CHECK(inspect::plain_name("pneuma::cuda::(anonymous namespace)::convert_kernel<float, "
                            "pneuma::host_cuda::Sixteen<pneuma::host_cuda::HalfFormat> >") ==
        "convert_kernel<float, __half>");
}

// What cudaOccMaxActiveBlocksPerMultiprocessor (cuda_occupancy.h of CUDA 12) gives for sm_70.
TEST_CASE("occupancy of a V100") {
  const auto blocks = [](int threads, int registers, uint64_t shared) {
    return inspect::occupancy_v100(threads, registers, shared).blocks();
  };
  CHECK(blocks(256, 32, 0) == 8);
  CHECK(blocks(256, 33, 0) == 6);  // 40 a thread: 12 warps in each of four files
  CHECK(blocks(256, 64, 0) == 4);
  CHECK(blocks(256, 255, 0) == 1);
  CHECK(blocks(1024, 65, 0) == 0);
  CHECK(blocks(32, 16, 0) == 32);
  CHECK(blocks(256, 32, 24577) == 3);
  CHECK(blocks(96, 32, 0) == 21);  // warps of a block go to any of the files
  CHECK(blocks(96, 40, 0) == 16);
  CHECK(blocks(32, 17, 4096) == 24);
  CHECK(inspect::occupancy_v100(256, 32, 0).limits() == "registers and threads");
  CHECK(inspect::occupancy_v100(64, 0, 0).limits() == "threads and blocks");
}
