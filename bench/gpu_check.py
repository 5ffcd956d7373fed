"""Everything that only a GPU can show, in one run and one report; needs no network.

  gpu_check.py [--minutes 10]   builds the cuda device for the GPU that is here, runs the op cases, the
                                training comparison, compute-sanitizer, the microbenchmarks and
                                ResNet-50's step in fp32 and in 16 bits beside PyTorch's;
                                build/gpu_check/report.md and .json
  gpu_check.py --pack FILE      on a machine that has the libraries: FILE.tar.gz with the sources and, in
                                build/deps, the libraries, for a machine that has only nvcc, cuDNN,
                                g++, CMake and Python

What is missing is skipped and named. Ends with 0 where nothing failed (also where there is no GPU),
1 where a test failed or a bar was missed, 4 where it cannot build.
"""
import argparse
import datetime
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
OUTPUT = ROOT / "build/gpu_check"
BUILD = OUTPUT / "build"
COMPARISON = "phantom_training_test"  # cuda beside reference and cpu: one step, then drift
# Share of the copy bandwidth of the same run that kernels which live from memory must reach, by the
# beginning of the name of their case in bench_kernels' JSON; and our step beside PyTorch's.
BANDWIDTH_BARS = {"batch_norm_forward": 0.85, "batch_norm_backward": 0.85,
                  "optimizer_step adam": 0.85, "gradient_check": 0.85}
STEP_BAR = 1.2
MEASURED = "^(batch_norm_|optimizer_step|gradient_check|convolution|linear)"
# --precision_dtype, size, batch
STEPS = [("float32", 224, 128), ("float32", 224, 256), ("float32", 896, 16),
         ("float16", 224, 256), ("float16", 896, 16), ("bfloat16", 224, 256)]
BF16_CHIP = 8.0  # compute capability from which on cuDNN has convolutions in bf16
# What each step may take at most, of the whole time. Without the sanitizers, which come last and
# divide what is left, they add up to 1: every step is begun, also where those before it hang.
SHARES = {"configure": 0.06, "build": 0.36, "op cases": 0.07, "training comparison": 0.05,
          "bench_kernels": 0.13, "Pneuma": 0.022, "PyTorch": 0.033}
SANITIZERS = ("memcheck", "racecheck", "initcheck", "synccheck")
# What of the op cases a GPU has no part in.
OF_THE_CPU = "-tce=*on the reference*,*composition*,*[slow]*"
TIME_TO_COMPILE = 30  # minutes from which on PyTorch's step is the better of eager and torch.compile
# Headers and libraries that --pack takes from Debian's or Ubuntu's packages.
PACKED = ["libfmt-dev", "nlohmann-json3-dev", "libcli11-dev", "libxxhash-dev", "libspng-dev",
          "libjpeg62-turbo-dev", "libjpeg-turbo8-dev", "libdeflate-dev", "zlib1g-dev", "libstb-dev",
          "doctest-dev"]


class Check:
    """One run: its time, what each step ended with, the bars."""

    def __init__(self, minutes):
        self.minutes, self.start, self.steps, self.bars, self.facts = minutes, time.time(), [], [], {}

    def left(self):
        return self.start + 60 * self.minutes - time.time()

    def note(self, step, result, text, seconds=0.0):
        self.steps.append({"step": step, "result": result, "text": text, "seconds": round(seconds, 1)})
        print(f"gpu-check: {step}: {result}{': ' * bool(text)}{text}", flush=True)

    def run(self, step, limit, command, env=None):
        """Runs a command for at most `limit` seconds, or the share of that name. Its output, or None
        if not `passed`."""
        limit = min(SHARES[limit] * 60 * self.minutes if limit in SHARES else limit, self.left())
        if limit < 1:
            self.note(step, "skipped", "no time is left; --minutes gives more")
            return None
        log = OUTPUT / (re.sub(r"\W+", "_", step) + ".log")
        begin = time.time()
        with open(log, "w") as out:
            child = subprocess.Popen([str(part) for part in command], stdout=out, stdin=subprocess.DEVNULL,
                                     stderr=subprocess.STDOUT, env={**os.environ, **(env or {})},
                                     start_new_session=True)
            try:
                code = child.wait(limit)
            except subprocess.TimeoutExpired:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
                code = None
        output, seconds = log.read_text(errors="replace"), time.time() - begin
        last = (output.strip().splitlines() or [""])[-1][:160]
        wrong = re.search(r"^CMake Error.*(?:\n\s*\S.*)?|^.*\b(?:error|fatal|ERROR)\b:? .*", output, re.M)
        wrong = " ".join(wrong[0].split())[:300] if wrong else last
        if code is None:
            self.note(step, "skipped", f"not finished within its {limit:.0f} s; last: {last}", seconds)
        elif code:
            self.note(step, "FAILED", f"exit {code}; {wrong} (all of it: {log.relative_to(ROOT)})", seconds)
        else:
            self.note(step, "passed", last if len(last) < 100 else "", seconds)
        return output if code == 0 else None

    def bar(self, what, value, least):
        met = value >= least
        self.bars.append({"bar": what, "value": round(value, 3), "least": least, "met": met})
        print(f"gpu-check: bar: {what}: {value:.2f}, at least {least}: {'met' if met else 'MISSED'}")

    def failed(self):
        return (any(step["result"] == "FAILED" for step in self.steps) or
                any(not bar["met"] for bar in self.bars))


def gpu():
    """(facts of the first GPU, None), or (None, why there is none)."""
    if not shutil.which("nvidia-smi"):
        return None, "nvidia-smi is not there"
    fields = ["name", "compute_cap", "driver_version", "memory.total", "clocks.max.sm", "clocks.max.mem"]
    done = subprocess.run(["nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader"],
                          capture_output=True, text=True)
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        return None, "nvidia-smi finds none: " + " ".join((done.stderr or done.stdout).split())[:200]
    return dict(zip(fields, [value.strip() for value in lines[0].split(",")])), None


def said(*command):
    try:
        return subprocess.run(command, capture_output=True, text=True, cwd=ROOT).stdout.strip()
    except OSError:
        return ""


def build(check):
    chip = check.facts["compute_cap"].replace(".", "")
    if int(chip) < 75 and "cuda_13" in check.facts["nvcc"]:
        check.note("configure", "FAILED", f"CUDA 13 does not compile for sm_{chip}: put the bin folder of a "
                                          "CUDA 12 first on PATH (docs/p3.md)")
        return False
    # oneDNN travels with nothing; without it the cpu device lacks convolutions, and cuda needs none.
    onednn = "ON" if (ROOT / "build/onednn").exists() else "OFF"
    generator = ["-G", "Ninja"] if shutil.which("ninja") else []
    if check.run("configure", "configure", ["cmake", "-S", ROOT, "-B", BUILD, *generator, "-DPNEUMA_CUDA=ON",
                                    f"-DPNEUMA_CUDA_ARCHITECTURES={chip}-real",
                                    f"-DPNEUMA_ONEDNN={onednn}"]) is None:
        return False
    targets = ["pneuma_cuda", "op_cases_test", "bench_kernels", "bench_train_step"]
    if list(ROOT.glob(f"tests/*/{COMPARISON}.cpp")):
        targets += [COMPARISON, "prepare_cxr"]
    return check.run("build", "build", ["cmake", "--build", BUILD, "-j", os.cpu_count(), "--target",
                                    *targets]) is not None


def tests(check):
    cuda = {"PNEUMA_DEVICE": "cuda"}
    op_cases = BUILD / "tests/op_cases_test"
    check.run("op cases", "op cases", [op_cases], cuda)
    if (BUILD / "tests" / COMPARISON).exists():
        check.run("training comparison", "training comparison", [BUILD / "tests" / COMPARISON], cuda)
    else:
        check.note("training comparison", "skipped", f"there is no {COMPARISON}")


def sanitizers(check):
    for i, tool in enumerate(SANITIZERS):
        if shutil.which("compute-sanitizer"):
            check.run(f"compute-sanitizer {tool}", check.left() / (len(SANITIZERS) - i),
                      ["compute-sanitizer", "--tool", tool, "--error-exitcode", 9,
                       BUILD / "tests/op_cases_test", OF_THE_CPU], {"PNEUMA_DEVICE": "cuda"})
        else:
            check.note(f"compute-sanitizer {tool}", "skipped", "compute-sanitizer is not on PATH")


def kernels(check):
    """bench_kernels' JSON: {"results": [{"case": name, "of_copy": share, ...}]}; of_copy only where
    the case lives from memory."""
    path = OUTPUT / "kernels.json"
    path.unlink(missing_ok=True)
    check.run("bench_kernels", "bench_kernels",
              [BUILD / "bin/bench_kernels", "--device", "cuda", "--json", path, "--size", 224,
               "--runs", 100, "--filter", MEASURED])
    if not path.exists():  # where a case was wrong, there is one
        return
    try:
        results = json.loads(path.read_text())["results"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        check.note("bandwidth bars", "FAILED", f"bench_kernels left no results in {path.name}: {error!r}")
        return
    for begin, least in BANDWIDTH_BARS.items():
        shares = [r["of_copy"] for r in results if r["case"].startswith(begin) and r.get("of_copy")]
        if shares:
            check.bar(f"{begin}, share of copy bandwidth, worst of {len(shares)}", min(shares), least)
        else:
            check.note(f"bar {begin}", "skipped", "no such case in bench_kernels' results")


def train_steps(check):
    why = said(sys.executable, "-c", "import torch, torchvision as _\n"
               "print('' if torch.cuda.is_available() else 'PyTorch here has no CUDA')") or (
        "" if said(sys.executable, "-c", "import torch, torchvision; print(1)") else
        f"{sys.executable} has no torch and torchvision")
    mode = "best" if check.minutes >= TIME_TO_COMPILE else "eager"
    for dtype, size, batch in STEPS:
        name = f"ResNet-50, {size}, batch {batch}, {dtype}"
        if dtype == "bfloat16" and float(check.facts["compute_cap"]) < BF16_CHIP:
            check.note(name, "skipped", f"bfloat16 needs compute capability {BF16_CHIP} or newer")
            continue
        flags = ["--device", "cuda", "--precision_dtype", dtype, "--size", size, "--batch", batch,
                 "--warmup", 3, "--steps", 7]
        pair = {}
        programs = {"Pneuma": [BUILD / "bin/bench_train_step"],
                    "PyTorch": [sys.executable, ROOT / "bench/peers/train_step_torch.py", "--mode", mode]}
        for whose, program in programs.items():
            if whose == "PyTorch" and why:
                check.note(f"{name}, PyTorch", "skipped", why)
                continue
            output = check.run(f"{name}, {whose}", whose, [*program, *flags])
            if output is not None:
                line = [part for part in output.splitlines() if part.startswith("{")][-1]
                pair[whose] = json.loads(line)
        check.facts.setdefault("training_steps", {})[name] = pair
        if len(pair) == 2:
            check.bar(f"{name}, images/s beside PyTorch's ({mode})",
                      pair["Pneuma"]["images_per_second"] / pair["PyTorch"]["images_per_second"], STEP_BAR)


def report(check):
    facts = {key: value for key, value in check.facts.items() if key != "training_steps"}
    lines = ["# gpu-check", "", *(f"- {key}: {value}" for key, value in facts.items()), "",
             "| step | result | seconds | |", "|---|---|---|---|"]
    lines += [f"| {s['step']} | {s['result']} | {s['seconds']} | {s['text'].replace('|', '/')} |"
              for s in check.steps]
    lines += ["", "| bar | value | least | |", "|---|---|---|---|"]
    lines += [f"| {b['bar']} | {b['value']:.2f} | {b['least']} | {'met' if b['met'] else 'MISSED'} |"
              for b in check.bars]
    lines += ["", "| training step | whose | images/s | GiB |", "|---|---|---|---|"]
    for name, pair in check.facts.get("training_steps", {}).items():
        for whose, line in pair.items():
            memory = line.get("device_memory_bytes") or line.get("peak_memory_bytes", 0)
            lines.append(f"| {name} | {whose} | {line['images_per_second']:.1f} | {memory / 2**30:.2f} |")
    (OUTPUT / "report.md").write_text("\n".join(lines) + "\n")
    (OUTPUT / "report.json").write_text(json.dumps(
        {"facts": check.facts, "steps": check.steps, "bars": check.bars}, indent=1))


def pack(name):
    deps = ROOT / "build/deps"
    shutil.rmtree(deps, ignore_errors=True)
    wanted = re.compile(r"/usr/(include/|share/cmake/|lib/(.*\.(a|so)$|(.*/)?cmake/))")
    for package in PACKED:
        for path in map(pathlib.Path, said("dpkg", "-L", package).splitlines()):
            if not wanted.match(str(path)) or not path.is_file():
                continue
            to = deps / path.relative_to("/usr")
            to.parent.mkdir(parents=True, exist_ok=True)
            for each in [path, *path.parent.glob(path.name + ".*")]:  # libz.so, libz.so.1, ...
                shutil.copy(each, to.parent)
    lacking = [header for header in ("fmt/format.h", "nlohmann/json.hpp", "CLI/CLI.hpp", "xxhash.h", "spng.h",
                                     "jpeglib.h", "libdeflate.h", "zlib.h", "stb/stb_image.h",
                                     "doctest/doctest.h") if not (deps / "include" / header).exists()]
    if lacking:
        sys.exit(f"gpu-check: no installed package has {', '.join(lacking)}: run ./pneuma setup first")
    if not name.endswith(".tar.gz"):
        name += ".tar.gz"
    tracked = said("git", "ls-files", "--cached", "--others", "--exclude-standard").splitlines()
    with tarfile.open(name, "w:gz") as out:
        for path in [*tracked, "build/deps"]:
            if (ROOT / path).exists():
                out.add(ROOT / path, pathlib.Path("pneuma", path))
    print(f"gpu-check: {name}: unpack it there and run pneuma/pneuma gpu-check")


def main():
    parser = argparse.ArgumentParser(prog="pneuma gpu-check")
    parser.add_argument("--minutes", type=float, default=10, help="for all of it, the build too")
    parser.add_argument("--pack", metavar="FILE")
    flags = parser.parse_args()
    if flags.pack:
        return pack(flags.pack)
    found, why = gpu()
    if not found:
        print(f"gpu-check: there is no GPU here ({why}), so nothing was checked")
        return 0
    OUTPUT.mkdir(parents=True, exist_ok=True)
    # Where CMake looks for nvcc, too.
    os.environ["PATH"] += f"{os.pathsep}{os.environ.get('CUDA_HOME', '/usr/local/cuda')}/bin"
    check = Check(flags.minutes)
    check.facts = {"date": str(datetime.date.today()), **found,
                   "commit": said("git", "rev-parse", "--short", "HEAD") or "unknown",
                   "nvcc": (said("nvcc", "--version").splitlines() or ["not found"])[-1]}
    built = build(check)
    if built:
        tests(check)
        train_steps(check)
        kernels(check)
        sanitizers(check)
    report(check)
    print(f"gpu-check: report: {(OUTPUT / 'report.md').relative_to(ROOT)}")
    return 4 if not built else 1 if check.failed() else 0


if __name__ == "__main__":
    sys.exit(main())
