"""Opens a built libpneuma_cuda.so as a program does, and says what the device answers."""
import os
import pathlib
import shutil
import subprocess

import device_code

PROBE = r"""
#include <dlfcn.h>
#include <cstdio>
#include "kernels/kernels.h"
int main(int, char** arguments) {
  void* library = dlopen(arguments[1], RTLD_NOW | RTLD_LOCAL);
  if (!library) return std::printf("dlopen: %s\n", dlerror()), 1;
  auto* entry = reinterpret_cast<decltype(&pneuma_backend)>(dlsym(library, "pneuma_backend"));
  if (!entry) return std::printf("it has no pneuma_backend\n"), 1;
  if (entry(pneuma::kBackendAbi + 1)) return std::printf("it takes another ABI for its own\n"), 1;
  const pneuma::Backend* backend = entry(pneuma::kBackendAbi);
  if (!backend) return std::printf("it does not know its own ABI\n"), 1;
  if (!backend->kernels.convolution_forward.run || !backend->kernels.batch_norm_forward.run)
    return std::printf("it lacks kernels\n"), 1;
  pneuma::DeviceProperties properties;
  const pneuma::Status status = backend->device.properties(&properties);
  std::printf("%s: %s\n", backend->name, status ? properties.name : status.message);
}
"""


def compiler():
    return os.environ.get("CXX", "g++")


def said_by(library, folder):
    """What the device of this library answers; raises RuntimeError where it cannot be opened."""
    source = pathlib.Path(folder, "probe.cpp")
    source.write_text(PROBE)
    probe = source.with_suffix("")
    subprocess.run([compiler(), "-std=c++20", f"-I{device_code.ROOT}", source, "-o", probe, "-ldl"],
                   check=True)
    done = subprocess.run([probe, library], cwd="/", capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{library}: {done.stdout}{done.stderr}")
    return done.stdout.strip()


def faults_of(library, folder):
    """[] where it opens and, without a driver, says so."""
    try:
        answer = said_by(library, folder)
    except RuntimeError as error:
        return [f"FAULT: {error}"]
    print(f"it answers: {answer}")
    if shutil.which("nvidia-smi") or (answer.startswith("cuda: ") and "driver" in answer):
        return []
    return [f"FAULT: without a driver it should say so, and says: {answer}"]


def toolkit():
    """The folder of nvcc's toolkit; None where there is none."""
    nvcc = shutil.which("nvcc", path=os.environ.get("PATH", "") + ":/usr/local/cuda/bin")
    for path in ([pathlib.Path(nvcc).resolve().parents[1]] if nvcc else []) + [
            pathlib.Path("/usr/local/cuda")]:
        if (path / "bin/fatbinary").exists() and (path / "include").exists():
            return path
    return None
