"""The whole plugin for the V100 where nvcc is too new for it: clang 19 with CUDA 12.9's wheels, linked
with the cuDNN and cuBLAS that are there, opened; without a driver it says so."""
import concurrent.futures
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import device_code
import plugin

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "repo"))
from repo import SKIPPED, finish  # noqa: E402

# The fatbinary of CUDA 13 knows --image no more, which clang 19 writes.
FATBINARY = r"""#!/usr/bin/env bash
for argument; do
  if [[ $argument =~ ^--image=profile=(sm|compute)_([0-9]+),file=(.*)$ ]]; then
    [[ ${BASH_REMATCH[1]} == sm ]] && kind=elf || kind=ptx
    argument=--image3=kind=$kind,sm=${BASH_REMATCH[2]},file=${BASH_REMATCH[3]}
  fi
  arguments+=("$argument")
done
exec "$PNEUMA_FATBINARY" "${arguments[@]}"
"""


def skip(sentence):
    print(f"SKIPPED: {sentence}")
    sys.exit(SKIPPED)


def lay_out(folder, toolkit):
    """The wheels as one toolkit of the shape that clang looks for, and the libraries' headers."""
    for name in ("bin", "include", "lib64"):
        (folder / name).mkdir(parents=True)
    for include in map(pathlib.Path, device_code.include_folders()):
        for path in include.iterdir():
            if not path.name.startswith("__") and not (folder / "include" / path.name).exists():
                (folder / "include" / path.name).symlink_to(path)
    # library_types.h belongs to the libraries: a newer cuBLAS has types that 12.9's has not.
    for pattern in ("cublas*.h", "cudnn*.h", "library_types.h"):
        for path in (toolkit / "include").glob(pattern):
            (folder / "include" / path.name).unlink(missing_ok=True)
            (folder / "include" / path.name).symlink_to(path)
    for path in (device_code.wheels() / "cuda_runtime/lib").iterdir():
        (folder / "lib64" / path.name).symlink_to(path)
    (folder / "nvvm").symlink_to(device_code.wheels() / "cuda_nvcc/nvvm")
    (folder / "bin/ptxas").symlink_to(device_code.ptxas())
    (folder / "bin/fatbinary").write_text(FATBINARY)
    (folder / "bin/fatbinary").chmod(0o755)


def main():
    clang, toolkit = shutil.which("clang++-19"), plugin.toolkit()
    if not clang:
        skip("there is no clang++-19 (apt-get install clang-19, where it is packaged)")
    if not device_code.wheels():
        skip("build/nvrtc is not there; ./pneuma setup makes it where there is a network (x86_64)")
    if not toolkit:
        skip("there is no fatbinary: it comes with nvcc's toolkit, 12 or 13")
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        lay_out(folder / "cuda", toolkit)
        libraries = [(folder / "cuda/include" / header).exists() for header in ("cudnn.h", "cublas_v2.h")]
        environment = {**os.environ, "PNEUMA_FATBINARY": str(toolkit / "bin/fatbinary")}
        common = ["-std=c++20", "-O3", "-DNDEBUG", "-ffp-contract=off", "-fPIC", f"-I{device_code.ROOT}",
                  "-I", folder / "cuda/include", '-DPNEUMA_BUILD="sm_70"', '-DPNEUMA_BACKEND_NAME="cuda"']

        def compile_one(source):
            to = folder / (source.name + ".o")
            command = [plugin.compiler()] if source.suffix == ".cpp" else [
                clang, "-x", "cuda", f"--cuda-gpu-arch=sm_{device_code.CHIP}",
                f"--cuda-path={folder / 'cuda'}", "-Wno-unknown-cuda-version"]
            done = subprocess.run([*command, *common, "-c", source, "-o", to], env=environment,
                                  capture_output=True, text=True)
            fault = f"FAULT: {source.name} does not compile:\n{done.stderr[:3000]}"
            return to, [fault] if done.returncode else []

        sources = device_code.sources()
        if all(libraries):
            sources += sorted(device_code.ROOT.glob("kernels/cuda/*.cpp"))
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            results = list(pool.map(compile_one, sources))
        faults = [fault for _, found in results for fault in found]
        print(f"{len(sources)} sources for sm_{device_code.CHIP} by {clang}")
        if not all(libraries):
            if faults:
                finish(faults)
            skip(f"all device code compiles; without cuDNN and cuBLAS in {toolkit} it is not linked")
        if not faults:
            library, there = folder / "libpneuma_cuda.so", toolkit / "lib64"
            done = subprocess.run(
                [plugin.compiler(), "-shared", "-o", library, *(to for to, _ in results),
                 f"-L{folder / 'cuda/lib64'}", "-lcudart_static", f"-L{there}", "-lcudnn", "-lcublas",
                 "-ldl", "-lpthread", "-lrt", "-Wl,-z,defs", "-Wl,--exclude-libs,ALL",
                 f"-Wl,-rpath,{there}"], capture_output=True, text=True)
            faults = ([f"FAULT: it does not link:\n{done.stderr[:3000]}"] if done.returncode else
                      plugin.faults_of(library, folder))
        finish(faults)


main()
