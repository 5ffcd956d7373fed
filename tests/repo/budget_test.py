"""Minimal is a promise: lines of code of each room and of the reader's path; lines of each file.

A line of code is one that is neither blank nor only a comment; tests and benchmarks do not count.
"""
import re
import statistics

from repo import SOURCE, files, finish, text

# The first room that a path belongs to counts it.
BUDGETS = [
    ("comm and distributed", 1200, ["kernels/comm/", "engine/distributed/"]),
    ("engine", 3000, ["engine/"]),
    ("reference", 800, ["kernels/reference/"]),
    ("cpu", 1800, ["kernels/cpu/", "kernels/host_device."]),
    ("cuda", 2800, ["kernels/cuda/"]),
    # What stands in for cuBLAS and cuDNN is apart from the runtime, and the formulas of pictures
    # from the seam: see the README's map.
    ("host_cuda's libraries", 500, ["kernels/host_cuda/" + name for name in
                                    ("cublas", "cudnn", "library", "include/cublas", "include/cudnn")]),
    ("host_cuda", 2500, ["kernels/host_cuda/"]),
    ("experiments of the course", 300, ["apps/inspect/experiment."]),
    ("inspectors", 1420, ["apps/inspect/"]),
    ("training contract", 700, ["apps/contract/"]),
    ("apps and report", 3000, ["apps/"]),
    ("formulas of pictures", 150, ["kernels/augment.h", "kernels/resize.h"]),
    ("seam, pointwise and half", 600, ["kernels/"]),
    ("MXNet's files", 520, ["models/mxnet/"]),
    ("models", 900, ["models/"]),
    ("phantoms", 620, ["data/phantom/"]),  # apart from the reading of data: see the README's map
    ("records", 900, ["data/record/"]),
    ("data", 2400, ["data/"]),
    ("front door", 300, ["pneuma"]),
]
READERS_PATH = 4400  # engine, kernels.h, reference
FILE_LIMIT, MEDIAN_LIMIT, PROGRAM_LIMIT, FIRST_STEP_LIMIT = 600, 150, 200, 60

lines = {str(path): text(path).count("\n") for path in files(SOURCE | {".py", ""})}
code = {path: len(re.findall(r"^[ \t]*(?!//)\S", text(path), re.M)) for path in lines}
code["pneuma"] = lines["pneuma"]
faults, totals = [], {name: 0 for name, _, _ in BUDGETS}


def limit(what, count, most):
    print(f"{what:32} {count:5} of {most}")
    if count > most:
        faults.append(f"FAULT: {what} has {count} lines; its budget is {most}")


room_files = []
for path, count in code.items():
    if path.startswith(("tests/", "bench/")) or not path.endswith((*SOURCE, "pneuma")):
        continue
    room_files.append(lines[path])
    for name, _, prefixes in BUDGETS:
        if path.startswith(tuple(prefixes)):
            totals[name] += count
            break
    else:
        faults.append(f"FAULT: {path} belongs to no room (tests/repo/budget_test.py lists them)")

for name, most, _ in BUDGETS:
    limit(name, totals[name], most)
limit("reader's path", totals["engine"] + totals["reference"] + code["kernels/kernels.h"],
      READERS_PATH)
limit("median file", int(statistics.median(room_files)), MEDIAN_LIMIT)
for path, count in lines.items():
    most = FILE_LIMIT if not path.startswith("apps/") or path.count("/") > 1 else PROGRAM_LIMIT
    if path == "apps/examples/first_step.cpp":
        most = FIRST_STEP_LIMIT
    if path != "LICENSE" and count > most:
        faults.append(f"FAULT: {path} has {count} lines; the limit is {most}")
finish(faults)
