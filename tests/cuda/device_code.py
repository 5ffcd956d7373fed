"""The V100's code of kernels/cuda/*.cu without nvcc and without a GPU: NVRTC 12.9 makes PTX of it,
ptxas 12.9 machine code, from the wheels that ./pneuma setup puts into build/nvrtc.

  device_code.py [NAME...]    what ptxas and the PTX say of every kernel (whose name holds NAME), as JSON

NVRTC compiles device code alone, so launchers are taken for device functions (-default-device);
since these take a kernel's address, every instance that they launch is in the PTX, and nothing of
the launchers themselves. The host's headers that they include stand in HEADERS.
"""
import concurrent.futures
import ctypes
import functools
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
CHIP = 70
# As kernels/cuda/CMakeLists.txt has them.
OPTIONS = ["-std=c++20", "--fmad=false", "-DNDEBUG", '-DPNEUMA_BUILD="device code"']

OF_TOOLKIT = "#pragma once\n#include <cuda/std/{}>\nnamespace std {{ using namespace cuda::std; }}\n"
HEADERS = {name: OF_TOOLKIT.format(name) for name in (
    "array", "bit", "cfloat", "climits", "concepts", "cstddef", "cstdint", "functional",
    "initializer_list", "limits", "numeric", "optional", "span", "tuple", "type_traits", "utility")}
HEADERS["algorithm"] = "".join(OF_TOOLKIT.format(f"__algorithm/{name}.h") for name in (
    "min", "max", "clamp", "copy", "fill"))
HEADERS["cmath"] = "#pragma once\nnamespace std {\n" + "".join(f"using ::{name};\n" for name in (
    "abs", "ceil", "cos", "exp", "fabs", "floor", "fma", "fmax", "fmin", "isfinite", "isinf", "isnan",
    "ldexp", "log", "log1p", "log2", "pow", "rint", "round", "sin", "sqrt", "tanh", "trunc")) + """}
#define INFINITY __int_as_float(0x7f800000)
#define NAN __int_as_float(0x7fffffff)
"""
HEADERS["cstring"] = "#pragma once\nnamespace std { using ::memcpy; using ::memset; }\n"
# What launchers call of the runtime. Bodies only for the parser: no launcher is ever run here.
HEADERS["cuda_runtime.h"] = """#pragma once
#include <cuda/std/type_traits>
#include <cuda_runtime_api.h>
namespace std { using namespace cuda::std; }
template <class... P, class... A>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t*, void (*)(P...), A&&...) {
  return cudaSuccess;
}
inline const char* cudaGetErrorString(cudaError_t) { return ""; }
inline const char* cudaGetErrorName(cudaError_t) { return ""; }
""" + "".join(f"template <class... A> cudaError_t {name}(A...) {{ return cudaSuccess; }}\n" for name in (
    "cudaFuncSetAttribute", "cudaMemcpyAsync", "cudaMemsetAsync", "cudaStreamSynchronize"))

# cuBLAS, as far as a file with a kernel of its own calls it.
HEADERS["kernels/cuda/library.h"] = """#pragma once
#include <algorithm>
#include "kernels/cuda/launch.cuh"
namespace pneuma::cuda {
template <class Handle, class Create> Status library_handle(Handle*, Create) { return {}; }
}
"""
HEADERS["cublas_v2.h"] = """#pragma once
using cublasHandle_t = void*;
enum cublasStatus_t { CUBLAS_STATUS_SUCCESS, CUBLAS_STATUS_NOT_SUPPORTED,
                      CUBLAS_STATUS_ARCH_MISMATCH, CUBLAS_STATUS_ALLOC_FAILED };
enum cublasMath_t { CUBLAS_DEFAULT_MATH, CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION = 16 };
enum cublasOperation_t { CUBLAS_OP_N, CUBLAS_OP_T };
enum cublasComputeType_t { CUBLAS_COMPUTE_32F, CUBLAS_COMPUTE_32F_PEDANTIC };
enum cublasGemmAlgo_t { CUBLAS_GEMM_DEFAULT = -1 };
inline const char* cublasGetStatusString(cublasStatus_t) { return ""; }
""" + "".join(f"template <class... A> cublasStatus_t {name}(A...) {{ return {{}}; }}\n" for name in (
    "cublasCreate", "cublasGemmEx", "cublasSetMathMode", "cublasSetStream", "cublasSetWorkspace"))


def wheels():
    """The folder of the installed wheels; None where there is none."""
    found = sorted(ROOT.glob("build/nvrtc/lib/python*/site-packages/nvidia"))
    there = [path for path in found if (path / "cuda_nvrtc/lib/libnvrtc.so.12").exists()]
    return there[-1] if there else None


def ptxas():
    path = wheels() / "cuda_nvcc/bin/ptxas"
    path.chmod(0o755)  # wheels keep no such bit
    return path


def include_folders():
    return [str(wheels() / wheel / "include") for wheel in ("cuda_runtime", "cuda_nvcc", "cuda_cccl")]


@functools.cache
def nvrtc():
    return ctypes.CDLL(str(wheels() / "cuda_nvrtc/lib/libnvrtc.so.12"))


def text_of(program, what):
    size = ctypes.c_size_t()
    getattr(nvrtc(), f"nvrtcGet{what}Size")(program, ctypes.byref(size))
    text = ctypes.create_string_buffer(size.value)
    getattr(nvrtc(), f"nvrtcGet{what}")(program, text)
    return text.value.decode()


def compile_to_ptx(source, name):
    """PTX of one source. Raises RuntimeError with the compiler's words."""
    def strings(values):
        return (ctypes.c_char_p * len(values))(*[value.encode() for value in values])

    program = ctypes.c_void_p()
    nvrtc().nvrtcCreateProgram(ctypes.byref(program), source.encode(), name.encode(), len(HEADERS),
                               strings(list(HEADERS.values())), strings(list(HEADERS)))
    options = [*OPTIONS, f"-arch=compute_{CHIP}", "-default-device", f"-I{ROOT}",
               *(f"-I{folder}" for folder in include_folders())]
    code = nvrtc().nvrtcCompileProgram(program, len(options), strings(options))
    if code:
        raise RuntimeError(f"{name} does not compile for sm_{CHIP}:\n{text_of(program, 'ProgramLog')}")
    ptx = text_of(program, "PTX")
    nvrtc().nvrtcDestroyProgram(ctypes.byref(program))
    return ptx


def assemble(ptx, name):
    """{mangled function: {registers, stack, spill_stores, spill_loads, shared}} from ptxas -v."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "device.ptx")
        path.write_text(ptx)
        done = subprocess.run([ptxas(), "-v", f"-arch=sm_{CHIP}", "-o", path.with_suffix(".cubin"),
                               path], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"ptxas refuses {name}:\n{done.stderr}")
    functions, current = {}, None
    for line in done.stderr.splitlines():
        if found := re.search(r"(?:Compiling entry function '|Function properties for )([\w$.]+)", line):
            current = functions.setdefault(found[1], {})
        elif found := re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores, "
                                r"(\d+) bytes spill loads", line):
            current.update(zip(("stack", "spill_stores", "spill_loads"), map(int, found.groups())))
        elif found := re.search(r"Used (\d+) registers", line):
            shared = re.search(r"(\d+) bytes smem", line)
            current.update(registers=int(found[1]), shared=int(shared[1]) if shared else 0)
    return functions


def global_loads(ptx):
    """{mangled kernel: [bits of each load from global memory]}

    A load that names no memory counts: its pointer was itself read from memory, as in the lists
    of tensors that an optimizer walks.
    """
    kernels = {}
    for entry in re.finditer(r"^(?:\.visible |\.weak )?\.entry (\w+)\(.*?^\{(.*?)^\}", ptx, re.M | re.S):
        loads = kernels[entry[1]] = []
        for found in re.finditer(r"\bld((?:\.\w+)+)\s", entry[2]):
            parts = found[1].split(".")
            if not any(re.match(r"(shared|local|param|const)", part) for part in parts):
                count = next((int(part[1:]) for part in parts if re.fullmatch(r"v\d", part)), 1)
                loads.append(count * int(re.search(r"\d+$", parts[-1])[0]))
    return kernels


def plain(mangled):
    """Names as one reads them: map_kernel<float, Relu>."""
    done = subprocess.run(["c++filt", *mangled], capture_output=True, text=True, check=True)
    names = {}
    for raw, name in zip(mangled, done.stdout.splitlines()):
        name = re.sub(r"\b_GLOBAL__N__\w+?::|\(anonymous namespace\)::|\bpneuma::|^void ", "", name)
        names[raw] = re.sub(r"\((?:[^()]|\([^()]*\))*\)(?: \[.*\])?$", "", name)
    return names


def look_at(source, name):
    """Every kernel of one source: [{name, file, registers, ..., loads}]."""
    ptx = compile_to_ptx(source, name)
    functions, loads = assemble(ptx, name), global_loads(ptx)
    names = plain(list(functions)) if functions else {}
    return [{"name": names[mangled], "file": name, "kernel": mangled in loads, **said,
             "loads": loads.get(mangled, [])} for mangled, said in functions.items()]


def sources():
    return sorted(ROOT.glob("kernels/cuda/*.cu"))


def look_at_all():
    """Of every file: ([kernels], [sentences of files that do not compile])."""
    def one(path):
        try:
            return look_at(path.read_text(), str(path.relative_to(ROOT))), None
        except RuntimeError as error:
            return [], str(error)

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        results = list(pool.map(one, sources()))
    return [kernel for found, _ in results for kernel in found], [said for _, said in results if said]


def write_report(kernels, path):
    """For `inspect_cxr kernel`: a line a kernel, registers, stack, spills, shared, name; bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(
        f"{k['registers']} {k['stack']} {k['spill_stores'] + k['spill_loads']} {k['shared']} "
        f"{k['name']}\n" for k in kernels if k["kernel"]))


if __name__ == "__main__":
    if not wheels():
        sys.exit("build/nvrtc is not there: ./pneuma setup makes it where there is a network (x86_64)")
    everything, refused = look_at_all()
    wanted = [k for k in everything if all(part in k["name"] for part in sys.argv[1:])]
    print(json.dumps(wanted, indent=1))
    sys.exit("\n".join(refused) or 0)
