"""The whole plugin by CMake and nvcc for three kinds of chips, linked with cuDNN and cuBLAS, opened from
anywhere; without a driver it says so."""
import os
import pathlib
import subprocess
import sys
import tempfile

import device_code
import plugin

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "repo"))
from repo import SKIPPED, finish  # noqa: E402

CHIPS = "75-real;80-real;90-real"


def run(*command):
    done = subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True)
    return done.returncode, done.stdout


def main():
    with tempfile.TemporaryDirectory() as folder:
        settings = ["-DPNEUMA_TESTS=OFF", "-DPNEUMA_BENCH=OFF", "-DPNEUMA_ONEDNN=OFF",
                    f"-DPNEUMA_CUDA_ARCHITECTURES={CHIPS}"]
        code, said = run("cmake", "-S", device_code.ROOT, "-B", folder, "-DPNEUMA_CUDA=AUTO", *settings)
        absent = [line for line in said.splitlines() if "No cuda device:" in line]
        if absent:
            print("SKIPPED: " + absent[0].split("No cuda device: ")[1])
            sys.exit(SKIPPED)
        if code:
            finish([f"FAULT: it cannot be configured:\n{said[-3000:]}"])
        code, said = run("cmake", "--build", folder, "-j", os.cpu_count(), "--target", "pneuma_cuda")
        if code:
            finish([f"FAULT: it does not build:\n{said[-5000:]}"])
        library = pathlib.Path(folder, "bin/libpneuma_cuda.so")
        faults = [f"FAULT: nvcc warns: {line}" for line in said.splitlines() if "warning" in line]
        finish(faults + plugin.faults_of(library, folder))


main()
