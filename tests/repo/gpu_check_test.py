"""./pneuma gpu-check where there is no GPU, and with stand-ins for the GPU and all outside programs."""
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

from repo import ROOT, finish

GPU = "echo 'Tesla V100-SXM2-16GB, 7.0, 570.10, 16384 MiB, 1530 MHz, 877 MHz'"
# Where cmake is asked to build, it makes programs that print what the real ones do.
CMAKE = r"""
[[ $1 == --build ]] || { echo "chips: $*" > configured; exit 0; }
mkdir -p "$2/bin" "$2/tests"
cat > "$2/tests/op_cases_test" <<'END'
#!/usr/bin/env bash
echo "device $PNEUMA_DEVICE: @OP@"; exit @OP_CODE@
END
cat > "$2/bin/bench_kernels" <<'END'
#!/usr/bin/env bash
[[ $3 == --json && "$*" == *"--size 224 --runs 100 --filter ^("* ]] || exit 2
echo '{"results": [{"case": "batch_norm_forward relu", "of_copy": @SHARE@}, {"case": "linear"}]}' > "$4"
END
cat > "$2/bin/bench_train_step" <<'END'
#!/usr/bin/env bash
[[ $3 == --precision_dtype ]] || exit 2
[[ $4 == float32 ]] && speed=400.0 || speed=900.0
echo '{"images_per_second": '$speed', "peak_memory_bytes": 7, "device_memory_bytes": 1073741824}'
END
chmod +x "$2"/*/*
"""
faults = []


def case(arguments, code, *wanted, share=0.9, op="30 cases", op_code=0, absent=(), **stand_ins):
    """One run in a folder of its own; returns the report, if any."""
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        for path in ("pneuma", "bench/gpu_check.py", "bench/peers/train_step_torch.py"):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / path, folder / path)
        (folder / "bin").mkdir()
        for tool in ("bash", "env", "dirname", "grep", "mkdir", "cat", "chmod", "sleep"):
            (folder / "bin" / tool).symlink_to(shutil.which(tool))
        (folder / "bin/python3").symlink_to(sys.executable)
        cmake = CMAKE.replace("@SHARE@", str(share)).replace("@OP_CODE@", str(op_code)).replace("@OP@", op)
        for tool, body in {"cmake": cmake, **stand_ins}.items():
            path = folder / "bin" / tool.replace("_", "-")
            path.write_text(f"#!/usr/bin/env bash\n{body}\n")
            path.chmod(0o755)
        # -S: nothing that is installed here, no PyTorch either.
        done = subprocess.run([folder / "bin/python3", "-S", folder / "bench/gpu_check.py", *arguments]
                              if arguments[:1] != ["gpu-check"] else [folder / "pneuma", *arguments],
                              env={"PATH": str(folder / "bin"), "HOME": name, "CUDA_HOME": name}, cwd=folder,
                              capture_output=True, text=True)
        out = done.stdout + done.stderr
        report = folder / "build/gpu_check/report"
        if report.with_suffix(".md").exists():
            out += report.with_suffix(".md").read_text()
            json.loads(report.with_suffix(".json").read_text())
        if (folder / "configured").exists():
            out += (folder / "configured").read_text()
    if done.returncode != code:
        faults.append(f"FAULT: {arguments}: exit {done.returncode}, wanted {code}:\n{out}")
    faults.extend(f"FAULT: {arguments}: '{text}' is not in:\n{out}" for text in wanted if text not in out)
    faults.extend(f"FAULT: {arguments}: '{text}' is in:\n{out}" for text in absent if text in out)


case(["gpu-check"], 0, "there is no GPU here (nvidia-smi is not there), so nothing was checked",
     absent=("configure",))
case([], 0, "there is no GPU here (nvidia-smi finds none: no devices were found)",
     nvidia_smi="echo no devices were found; exit 6")
case([], 0, "PNEUMA_CUDA_ARCHITECTURES=70-real", "op cases: passed: device cuda: 30 cases",
     "| compute-sanitizer racecheck | skipped |", "training comparison: skipped: there is no",
     "batch_norm_forward, share of copy bandwidth, worst of 1 | 0.90 | 0.85 | met",
     "bar gradient_check: skipped", "no torch and torchvision", "float32 | Pneuma | 400.0 | 1.00 |",
     "ResNet-50, 896, batch 16, float16 | Pneuma | 900.0 | 1.00 |",
     "batch 256, bfloat16: skipped: bfloat16 needs compute capability 8.0", nvidia_smi=GPU)
case([], 0, "batch 256, bfloat16 | Pneuma | 900.0 | 1.00 |", nvidia_smi=GPU.replace("7.0", "9.0"))
case([], 1, "compute-sanitizer memcheck: FAILED: exit 9; 2 errors", nvidia_smi=GPU,
     compute_sanitizer="[[ $2 == memcheck ]] || exit 0; echo 2 errors; exit 9")
case([], 1, "op cases: FAILED: exit 1; device cuda: batch_norm differs", op="batch_norm differs", op_code=1,
     nvidia_smi=GPU)
case([], 1, "| 0.70 | 0.85 | MISSED |", share=0.7, nvidia_smi=GPU)
case([], 4, "configure: FAILED: exit 1; no nvcc", nvidia_smi=GPU, cmake="echo no nvcc; exit 1")
case([], 4, "configure: FAILED: exit 1; CMake Error at x:1 (message): there is no cuDNN (all", nvidia_smi=GPU,
     cmake="printf '%s\\n' '-- looks' 'CMake Error at x:1 (message):' '  there is no cuDNN' '' incomplete; exit 1")
case([], 4, "configure: FAILED: CUDA 13 does not compile for sm_70", nvidia_smi=GPU,
     nvcc="echo Build cuda_13.0.r13.0/compiler.1")
case(["--minutes", "0.4"], 4, "configure: skipped: not finished within its", nvidia_smi=GPU,
     cmake="sleep 60")
finish(faults)
