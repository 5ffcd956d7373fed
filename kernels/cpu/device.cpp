// The cpu device: which instruction set, how many threads, what it is called.
#include "kernels/cpu/device.h"

#include <cpuid.h>
#include <omp.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "kernels/cpu/convolution.h"
#include "kernels/cpu/table.h"
#include "kernels/host_device.h"

namespace pneuma {
namespace {

#define PN_HAS __builtin_cpu_supports
struct InstructionSet {
  const char* name;
  bool (*present)();
  Kernels (*kernels)();
};
const InstructionSet kInstructionSets[] = {
    {"avx512",
     [] {
       return PN_HAS("avx512f") && PN_HAS("avx512bw") && PN_HAS("avx512dq") && PN_HAS("avx512vl");
     },
     avx512::kernels},
    {"avx2", [] { return PN_HAS("avx2") && PN_HAS("fma") && PN_HAS("f16c"); }, avx2::kernels},
    {"baseline", [] { return true; }, baseline::kernels},
};

struct Choice {
  const InstructionSet* isa;
  Status status;
};
// The widest that the machine has, or what PNEUMA_CPU_ISA says.
Choice choose() {
  const InstructionSet* baseline = &kInstructionSets[2];
  const char* forced = std::getenv("PNEUMA_CPU_ISA");
  for (const InstructionSet& isa : kInstructionSets) {
    if (forced && std::strcmp(forced, isa.name) != 0) continue;
    if (isa.present()) return {&isa, {}};
    if (forced)
      return {baseline,
              {StatusCode::unsupported,
               "this processor lacks the instruction set that PNEUMA_CPU_ISA asks for; unset it"}};
  }
  return {baseline,
          {StatusCode::invalid, "PNEUMA_CPU_ISA must be baseline, avx2 or avx512, or unset"}};
}
const Choice& choice() {
  static const Choice chosen = choose();
  return chosen;
}

// "AMD EPYC 9R14": the brand string of cpuid, without its padding.
std::string processor() {
  unsigned words[12] = {};
  for (unsigned i = 0; i < 3; ++i)
    __get_cpuid(0x80000002 + i, &words[4 * i], &words[4 * i + 1], &words[4 * i + 2],
                &words[4 * i + 3]);
  char text[sizeof words + 1] = {};
  std::memcpy(text, words, sizeof words);
  std::string name = text;
  name.erase(0, name.find_first_not_of(' '));
  name.erase(name.find_last_not_of(' ') + 1);
  return name.empty() ? "x86-64" : name;
}

std::atomic<int> threads{0};

Status set_threads(int n) {
  if (n < 1) return {StatusCode::invalid, "the number of threads must be at least 1"};
  threads = n;
  omp_set_num_threads(n);
  return {};
}

Status properties(DeviceProperties* p) {
  static const std::string cpu = processor();
  *p = {"", host_memory(), compute_threads(), true};
  const char* bf16 = "";
#ifdef PNEUMA_ONEDNN
  bf16 = onednn::computes_bf16() ? "avx512_bf16, " : "bf16 by emulation, ";
#endif
  std::snprintf(p->name, sizeof p->name, "%s, %s, %s%d thread%s", cpu.c_str(), choice().isa->name,
                bf16, p->threads, p->threads == 1 ? "" : "s");
  return choice().status;
}

}  // namespace

int compute_threads() {
  const int set = threads;
  return set ? set : omp_get_num_procs();
}

const Backend& cpu_backend() {
  static const Backend backend{kBackendAbi,
                               PNEUMA_BUILD,
                               "cpu",
                               host_device(properties, set_threads),
                               choice().isa->kernels(),
                               {}};
  return backend;
}

}  // namespace pneuma
