"""train_cxr on host_cuda: a step of ResNet-18 at 64 pixels, no fault, nothing left at the end:
host_cuda_train_test.py BUILD_FOLDER.
"""
import json
import os
import pathlib
import resource
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "repo"))
from repo import SKIPPED, finish  # noqa: E402

BIN = pathlib.Path(sys.argv[1]) / "bin"
STEPS, SECONDS_A_STEP = 3, 20
if not (BIN / "libpneuma_host_cuda.so").exists():
    print("SKIPPED: this build has no host_cuda")
    sys.exit(SKIPPED)
faults = []
with tempfile.TemporaryDirectory() as folder:
    data, run = folder + "/data", folder + "/run"
    subprocess.run([BIN / "prepare_cxr", "phantoms", "--output", data, "--patients", "30", "--size", "72"],
                   check=True, stdout=subprocess.DEVNULL)
    done = subprocess.run(
        [BIN / "train_cxr", "--device", "host_cuda", "--data", data, "--output", run, "--num_layers", "18",
         "--image_shape", "3,64,64", "--mini_batch_size", "4", "--max_steps", str(STEPS)],
        capture_output=True, text=True, env={**os.environ, "PNEUMA_HOST_CUDA_PRINT": "1"})
    # Processors' time, which a busy machine does not stretch; an evaluation and the start are in it.
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = (used.ru_utime + used.ru_stime) / STEPS
    faults += [f"FAULT: {line}" for line in done.stderr.splitlines() if line.startswith("host_cuda: ")]
    if done.returncode:
        faults.append(f"FAULT: train_cxr ended with {done.returncode}: {done.stderr}")
    lines = (pathlib.Path(run) / "metrics.jsonl").read_text().splitlines()
    if sum("loss" in json.loads(line) for line in lines) < STEPS:
        faults.append(f"FAULT: metrics.jsonl lacks steps: {lines}")
    print(f"{seconds:.1f} s of processor time a step")
    if seconds > SECONDS_A_STEP:
        faults.append(f"FAULT: a step takes {seconds:.1f} s; the limit is {SECONDS_A_STEP} s")
finish(faults)
