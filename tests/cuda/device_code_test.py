"""A gate: what runs on a V100 spills nothing, needs no stack, keeps to its registers, and reads 16
bytes at a time. Looks at every kernel of kernels/cuda/*.cu as NVRTC and ptxas 12.9 compile it."""
import pathlib
import re
import sys

import device_code

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "repo"))
from repo import SKIPPED, finish  # noqa: E402

# 64 registers let 1,024 threads share an SM's 65,536: half of what a V100 can hold, enough to hide
# the latency of kernels that live from memory. {name or its beginning: (registers, why)}
REGISTERS = 64
MORE_REGISTERS = {}
# Kernels that may read less than 16 bytes at a time. {regular expression of the name: why}
NARROW = {
    r", 1(, \d+)?>$|_flat_kernel<": "one element a thread, for channels that 16 bytes do not divide",
    r"_finish_kernel": "adds up what the blocks before it left: a few numbers",
    r"cross_entropy_kernel|\blinear_\w*bias_kernel": "N rows of some 14 classes: a few KB in all",
    r"\b(augment|resize_\w+)_kernel": "bytes of pixels, from wherever the geometry points",
}

# Faults planted for the gate to find: {name: (source, what the gate must say)}
PLANTED = {
    "spills": ("""__global__ void __launch_bounds__(1024, 2) spills(const float4* x, float4* y) {
  float4 v[16];
  for (int i = 0; i < 16; ++i) v[i] = x[i * 1024 + threadIdx.x];
  __syncthreads();
  for (int i = 0; i < 16; ++i) y[i * 1024 + threadIdx.x] = v[15 - i];
}""", "spills"),
    "stack": ("""__global__ void stack(const int4* x, int* y) {
  int v[64];
  for (int i = 0; i < 64; ++i) v[i] = x[i].x;
  for (int i = 0; i < 64; ++i) y[i] = v[y[i] & 63];
}""", "stack"),
    "registers": ("""__global__ void __launch_bounds__(256) registers(const float4* x, float4* y) {
  float4 v[20];
  for (int i = 0; i < 20; ++i) v[i] = x[i * 256 + threadIdx.x];
  __syncthreads();
  for (int i = 0; i < 20; ++i) y[i * 256 + threadIdx.x] = v[19 - i];
}""", "registers"),
    "narrow": ("""__global__ void narrow(const float* x, float* y, int n) {
  float sum = 0;
  for (int i = threadIdx.x; i < n; i += 32) sum += x[i];
  y[threadIdx.x] = sum;
}""", "16 bytes"),
}


def faults_of(kernel):
    name, faults = kernel["name"], []
    if kernel["spill_stores"] or kernel["spill_loads"]:
        faults.append(f"spills {kernel['spill_stores']} bytes, loads {kernel['spill_loads']} back")
    if kernel["stack"]:
        faults.append(f"keeps {kernel['stack']} bytes on the stack")
    limit = max([REGISTERS, *(n for begin, (n, _) in MORE_REGISTERS.items() if name.startswith(begin))])
    if kernel.get("registers", 0) > limit:
        faults.append(f"uses {kernel['registers']} registers; its limit is {limit}")
    widest = max(kernel["loads"], default=128)
    if widest < 128 and not any(re.search(narrow, name) for narrow in NARROW):
        faults.append(f"reads at most {widest // 8} of 16 bytes at a time")
    return [f"FAULT: {kernel['file']}: {name} {fault} (sm_{device_code.CHIP})" for fault in faults]


def main():
    if not device_code.wheels():
        print("SKIPPED: build/nvrtc is not there; ./pneuma setup makes it where there is a network "
              "(x86_64)")
        sys.exit(SKIPPED)
    faults = []
    for name, (source, wanted) in PLANTED.items():
        found = [fault for kernel in device_code.look_at(source, name) for fault in faults_of(kernel)]
        if not any(wanted in fault.split(" ", 3)[3] for fault in found):
            faults.append(f"FAULT: the fault planted in '{name}' was not found: {found}")

    kernels, refused = device_code.look_at_all()
    build = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else device_code.ROOT / "build"
    device_code.write_report(kernels, build / "ptxas" / f"sm_{device_code.CHIP}.txt")
    faults += [f"FAULT: {sentence}" for sentence in refused]
    print(f"{'registers':>9} {'shared':>6} {'load':>4}  kernel")
    for kernel in sorted(kernels, key=lambda kernel: (kernel["file"], kernel["name"])):
        faults += faults_of(kernel)
        if kernel["kernel"]:
            print(f"{kernel['registers']:9} {kernel['shared']:6} "
                  f"{max(kernel['loads'], default=0) // 8:4}  {kernel['name']}")
    names = [kernel["name"] for kernel in kernels if kernel["kernel"]]
    if not names:
        faults.append("FAULT: kernels/cuda/ holds no kernel")
    for path in device_code.ROOT.glob("kernels/cuda/*.cu*"):
        for name in re.findall(r"__global__[^;{]*?\b(\w+_kernel)\s*\(", path.read_text()):
            if not any(re.match(rf"(\w+::)*{name}\b", other) for other in names):
                faults.append(f"FAULT: {path.name}: no launcher starts {name}")
    for begin in MORE_REGISTERS:
        if not any(name.startswith(begin) for name in names):
            faults.append(f"FAULT: MORE_REGISTERS names {begin}, and there is no such kernel")
    for narrow in NARROW:
        if not any(re.search(narrow, name) for name in names):
            faults.append(f"FAULT: NARROW names {narrow}, and there is no such kernel")
    print(f"{len(names)} kernels of {len(device_code.sources())} files for sm_{device_code.CHIP}")
    finish(faults)


main()
