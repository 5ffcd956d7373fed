"""Every op case on host_cuda again, in a plain build under the address and undefined-behaviour
sanitizers: host_cuda_sanitizers_test.py BUILD_FOLDER.

A second opinion on the kernels and on the runtime below them. The program itself is the usual one;
only the plugin is built so, and the sanitizers' libraries are loaded before it.
"""
import os
import pathlib
import shutil
import subprocess
import sys

BUILD = pathlib.Path(sys.argv[1])
SKIPPED = 77
if not (BUILD / "bin/libpneuma_host_cuda.so").exists():
    print("SKIPPED: this build has no host_cuda")
    sys.exit(SKIPPED)
libraries = [subprocess.run(["g++", "-print-file-name=" + name], capture_output=True, text=True,
                            check=True).stdout.strip() for name in ("libasan.so", "libubsan.so")]
if not all(os.path.isabs(path) for path in libraries):
    print("SKIPPED: g++ has no libasan.so or libubsan.so here")
    sys.exit(SKIPPED)
subprocess.run(["cmake", "--build", BUILD, "--target", "pneuma_host_cuda_asan"], check=True,
               stdout=subprocess.DEVNULL)
program = BUILD / "sanitized/op_cases_test"
shutil.copy2(BUILD / "tests/op_cases_test", program)
done = subprocess.run(
    [program, "-tc=*every backend*"],
    env={**os.environ, "LD_PRELOAD": ":".join(libraries), "PNEUMA_DEVICE": "host_cuda",
         "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=0", "UBSAN_OPTIONS": "print_stacktrace=1"},
    capture_output=True, text=True)
out = done.stdout + done.stderr
print(out[-3000:])
faults = done.returncode != 0 or "runtime error" in out or "AddressSanitizer" in out
print("1 faults" if faults else "0 faults")
sys.exit(1 if faults else 0)
