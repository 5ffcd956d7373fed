"""bench_kernels: its cases, its table and JSON, its comparison, what it refuses."""
import json
import pathlib
import re
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "repo"))
from repo import SKIPPED, finish, text  # noqa: E402

PROGRAM = pathlib.Path(sys.argv[1]) / "bin/bench_kernels"
if not PROGRAM.exists():
    print("SKIPPED: this build has no benchmarks")
    sys.exit(SKIPPED)
faults = []


def expect(true, what):
    if not true:
        faults.append(f"FAULT: {what}")


def run(*flags, code=0):
    done = subprocess.run([PROGRAM, *flags], capture_output=True, text=True)
    expect(done.returncode == code, f"{flags}: exit {done.returncode}, not {code}\n{done.stdout}{done.stderr}")
    return done


# Every kernel of the seam has a case, at both sizes where it depends on them, and no two share a name.
names = run("--list").stdout.splitlines()
kernels = re.findall(r"Kernel<\w+> (\w+)\{", text("kernels/kernels.h"))
expect(len(kernels) >= 22, f"kernels.h was not understood: {kernels}")
for kernel in kernels:
    of_kernel = [name for name in names if name.startswith(kernel + " ")]
    sizes = {name.rpartition("@")[2] for name in of_kernel}
    expect(sizes == {"224", "896"} or kernel in ("gradient_check", "optimizer_step") and of_kernel,
           f"{kernel} has cases at {sizes}")
expect(len(names) == len(set(names)), "two cases have one name")
# What a person knows of ResNet-50 v1.5: 53 convolutions, 23 of them distinct; the stride is the 3x3's.
at_224 = run("--list", "--size", "224", "--filter", "^convolution_forward").stdout.splitlines()
expect(len(at_224) == 23, f"{len(at_224)} distinct convolutions")
expect("convolution_forward 16x56x56x128 * 128x3x3x128 / 2 @224" in at_224, f"v1.5 in {at_224}")

FIELDS = {"case", "kernel", "size", "times", "operands", "median_ms", "p10_ms", "p90_ms", "bytes_floor",
          "gb_per_second", "error_ulp", "tolerance_ulp", "equal"}
FILTER = r"^(convolution_backward_data 1x7x7x2048 \* 512|batch_norm_(for|back)ward add relu 1x14|" \
         r"linear|softmax|max_pool|pointwise_backward multiply 1x28x28x512|augment|resize)"
with tempfile.TemporaryDirectory() as folder:
    file = pathlib.Path(folder, "kernels.json")
    flags = ["--size", "224", "--batch", "1", "--runs", "3", "--filter", FILTER, "--json", file]
    out = run(*flags).stdout
    expect("3 runs after 3 to warm up (under 100: a first look)" in out, f"fewer runs are not said:\n{out}")
    report = json.loads(file.read_text())
    for key in ("machine", "device", "build", "dtype", "runs", "load", "clocks", "flushed_bytes", "results"):
        expect(key in report, f"the report has no {key}")
    rows = {row["case"]: row for row in report["results"]}
    expect(len(rows) == 12, f"{len(rows)} rows: {list(rows)}")
    for name, row in rows.items():
        expect(name in out, f"the table lacks {name}")
        if "skipped" in row:
            expect(row["kernel"] in ("resize", "linear_forward", "linear_backward",
                                     "convolution_backward_data"), f"{name} was skipped: {row['skipped']}")
            continue
        expect(FIELDS <= row.keys(), f"{name} lacks {FIELDS - row.keys()}")
        expect(0 < row["p10_ms"] <= row["median_ms"] <= row["p90_ms"], f"quantiles of {name}: {row}")
        expect(row["equal"] == 1, f"two runs of {name} differ")
        expect(0 <= row["error_ulp"] <= row["tolerance_ulp"], f"{name}: {row['error_ulp']} ulp")
        expect(abs(row["gb_per_second"] - row["bytes_floor"] / row["median_ms"] / 1e6) < 1e-6, f"{name}: GB/s")
    # The floors by hand: n = 1*14*14*1024 elements of 4 bytes, m = 1 bit, 9 (10) vectors of C.
    n = 14 * 14 * 1024
    forward = rows["batch_norm_forward add relu 1x14x14x1024 @224"]
    expect(forward["bytes_floor"] == 4 * 4 * n + n / 8 + 8 * 4 * 1024, f"{forward}")
    backward = rows["batch_norm_backward add relu 1x14x14x1024 @224"]
    expect(backward["bytes_floor"] == 6 * 4 * n + 2 * n / 8 + 5 * 4 * 1024, f"{backward}")
    expect(forward["of_copy"] > 0, "the share of a copy is missing")
    expect(forward["times"] == 6, f"one in each block of the third stage: {forward['times']}")
    multiply = rows["pointwise_backward multiply 1x28x28x512 @224"]
    expect(multiply["bytes_floor"] == 5 * 4 * 28 * 28 * 512, f"{multiply}")

    # The same file again, with one time made ten times smaller: that case comes first.
    for row in report["results"]:
        row["median_ms"] = row.get("median_ms", 0) * (1e-3 if row["case"].startswith("softmax") else 1)
    file.write_text(json.dumps(report))
    out = run(*flags[:-2], "--compare", file).stdout
    compared = out.partition("new / old of the medians")[2].splitlines()
    ratios = [float(line.split()[0]) for line in compared[1:]]
    measured = sum("skipped" not in row for row in rows.values())
    expect(len(ratios) == measured, f"{len(ratios)} of {measured} cases were compared:\n{out}")
    expect(ratios == sorted(ratios, reverse=True), f"not sorted: {ratios}")
    expect(len(compared) > 1 and "softmax_cross_entropy" in compared[1], f"the changed case is not first:\n{out}")

    file.write_text("[]")
    for flags, code, wanted in [
            (["--compare", file], 3, "not a file that --json wrote"),
            (["--compare", file / "none"], 3, "none"),
            (["--json", pathlib.Path(folder, "no/x.json")], 4, "there is no folder"),
            (["--filter", "("], 2, "is not a regular expression"),
            (["--filter", "no such case"], 2, "leaves no case"), (["--runs", "0"], 2, "--runs"),
            (["--size", "225"], 2, "--size"), (["--dtype", "f8"], 2, "--dtype"),
            (["--device", "gpu"], 2, "unknown device"), (["--fast"], 2, "--fast")]:
        said = run(*flags, code=code).stderr.strip()
        expect(wanted in said and "\n" not in said, f"{flags} is told: {said}")
finish(faults)
