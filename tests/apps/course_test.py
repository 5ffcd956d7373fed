"""docs/precision: each page's commands, run as they stand there, print what the page quotes, and each
experiment shows what the page claims: unprotected it breaks, protected it does not.
"""
import math
import pathlib
import re
import shlex
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "repo"))
from repo import ROOT, finish, text  # noqa: E402

BUILD = pathlib.Path(sys.argv[1])
HOST_CUDA = (BUILD / "bin/libpneuma_host_cuda.so").exists()
EXPERIMENTS = {"1-formats": "formats", "2-tape": "loss", "3-scaling": "scaler", "4-masters": "master",
               "5-statistics": "statistics", "6-gpu": "gpu"}
DECIMAL = re.compile(r"-?\d+\.\d+(?:e[-+]\d+)?")
faults = []


def expect(true, what):
    if not true:
        faults.append(f"FAULT: {what}")


def run(command):
    words = [str(BUILD / word[6:]) if word.startswith("build/") else word for word in shlex.split(command)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    expect(done.returncode == 0, f"{command}: exit {done.returncode}\n{done.stderr}")
    return done.stdout.splitlines()


def same(quoted, real):
    """Words and whole numbers equal; decimals within one unit of the last digit that is quoted."""
    if DECIMAL.sub("#", quoted).split() != DECIMAL.sub("#", real).split():
        return False
    for q, r in zip(DECIMAL.findall(quoted), DECIMAL.findall(real)):
        digits, _, exponent = q.partition("e")
        unit = 10.0 ** (int(exponent or 0) - len(digits.partition(".")[2]))
        if abs(float(q) - float(r)) > 1.001 * unit:
            return False
    return True


def compare(page, quoted, real):
    """`...` stands for any lines; what it parts must stand in `real` in this order, unbroken."""
    begin = 0
    for part in re.split(r"^\.\.\.\n", "\n".join(quoted) + "\n", flags=re.M):
        lines = part.splitlines()
        places = range(begin, len(real) - len(lines) + 1)
        found = next((k for k in places if all(map(same, lines, real[k:]))), None)
        if found is None:
            faults.append(f"FAULT: {page} quotes\n{part}but the command prints\n" + "\n".join(real[begin:begin + 40]))
            return
        begin = found + len(lines)
    if "..." not in quoted:
        expect(len(quoted) == len(real), f"{page}: the command prints {len(real)} lines, the page {len(quoted)}")


def numbers(lines, label):
    """Of the line that begins with `label`: the numbers behind it."""
    for line in lines:
        if line.startswith(label + " "):
            return [float(word) for word in re.findall(r"(?<![\w^\[,.])(?:-?\d[\d.]*(?:e[-+]\d+)?|inf|nan)(?![\w,\]])",
                                                      line[len(label):])]
    raise SystemExit(f"FAULT: no line begins with '{label}':\n" + "\n".join(lines))


def claims_of_formats(out):
    expect(numbers(out, "4096 ones, each sum rounded") == [4096, 2048, 256], "16-bit sums of ones stop")
    expect(numbers(out, "4096 ones, summed in f32") == [4096] * 3, "sums in f32 are right")
    expect(math.isinf(numbers(out, "70000 becomes")[1]), "70000 overflows f16")


def claims_of_loss(out):
    for z in (2, 6, 8, 9, 18):
        loss, gradient, lost, lost_gradient = numbers(out, str(z))
        expect(abs(loss - math.log1p(math.exp(z))) < 1e-3, f"the loss of a logit of {z} is {loss}")
        expect(abs(gradient - 1 / (1 + math.exp(-z))) < 1e-3, f"its gradient is {gradient}")
        if z >= 9:
            expect(math.isinf(lost) and math.isnan(lost_gradient), f"a probability in f16 holds at {z}")


def claims_of_scaler(out):
    right = numbers(out, "f32, no scale")[-1]
    for label in ("f16, no scale", "f16, fixed scale 2^44"):
        first, last = numbers(out, label)[-2:]
        expect(first == last > 2 * right, f"{label}: learns, from {first} to {last}")
    expect(numbers(out, "f16, no scale")[0] == 100, "without a scale some gradients are left")
    expect(numbers(out, "f16, fixed scale 2^44")[1] == 400, "2^44 skips every step")
    for label in ("f16, fixed scale 2^16", "f16, dynamic from 2^16", "f16, dynamic from 2^44"):
        expect(numbers(out, label)[-1] < 1.05 * right, f"{label} does not learn as f32 does")
    expect(0 < numbers(out, "f16, dynamic from 2^44")[1] < 20, "a dynamic scale skips a few steps")


def claims_of_master(out):
    right = numbers(out, "f32 weights")[-1]
    for dtype in ("f16", "bf16"):
        stuck, _, last = numbers(out, f"{dtype} weights and an f32 master")
        expect(stuck == 0 and last < 1.02 * right, f"{dtype} with a master: {stuck} % stuck, loss {last}")
        stuck, _, last = numbers(out, f"{dtype} weights alone")
        expect(stuck > 50 and last > 1.4 * right, f"{dtype} without a master: {stuck} % stuck, loss {last}")


def claims_of_statistics(out):
    for mean in (0, 10, 100, 1000, 10000):
        exact, engine, one_pass = numbers(out, str(mean))
        expect(abs(engine - exact) <= 1e-4, f"batch norm's variance at a mean of {mean}: {engine}, not {exact}")
        expect(mean < 1000 or one_pass < 0, f"one pass holds at a mean of {mean}: {one_pass}")
    threads = [line.split(maxsplit=2) for line in out if re.match(r"[1248] +\d", line)]
    expect(len({row[1] for row in threads}) == len(threads) == 4, f"sums by threads are equal: {threads}")
    expect(all(row[2] == "the same bits" for row in threads), f"batch norm's means differ: {threads}")


def claims_of_gpu(out):
    rows = {tuple(line.split()[:3]): [float(v) for v in line.split()[3:6]] for line in out[1:]}
    wide = "[8,28,28,64]"
    for kernel in ("pointwise_forward", "batch_norm_forward"):
        single, half = rows[kernel, wide, "f32"], rows[kernel, wide, "f16"]
        expect(half[0] <= 0.52 * single[0], f"{kernel} moves {half[0]} bytes in f16, {single[0]} in f32")
        expect(half[2] <= 1.05, f"{kernel} asks for {half[2]} of the least sectors")
    update = [rows["optimizer_step", "[100000]", dtype][0] / 100000 for dtype in ("f32", "f16")]
    expect(all(abs(bytes - 28) < 0.1 for bytes in update), f"the update moves {update} bytes a parameter")
    broken = rows["batch_norm_forward", "[8,28,28,60]", "f16"]
    expect(broken[1] > 4 * rows["batch_norm_forward", wide, "f32"][1], f"60 channels are fine: {broken}")


def check_walk(out):
    """Sections in their order; the totals are the sums of the lines."""
    sections = [line for line in out if re.fullmatch(r"forward|loss|backward|gradient check|update", line)]
    expect(sections == ["forward", "loss", "backward", "gradient check", "update"], f"sections: {sections}")
    kernels = [line.split() for line in out if re.match(r"    \w+ +\d+ +\d+   .* -> ", line)]
    totals = [int(v) for v in out[-1].split()[2:4]]
    expect(out[-1].startswith(f"{len(kernels)} kernels") and len(kernels) > 100, f"{len(kernels)}: {out[-1]}")
    for k in (0, 1):
        expect(sum(int(words[1 + k]) for words in kernels) == totals[k], f"the lines do not sum to {out[-1]}")
        by_dtype = [int(line.split()[2 + k]) for line in out if re.match(r"in \w+ ", line)]
        expect(sum(by_dtype) == totals[k], f"the dtypes do not sum to {out[-1]}")


pages = sorted(path.stem for path in (ROOT / "docs/precision").glob("[0-9]*.md"))
expect(pages == list(EXPERIMENTS), f"pages: {pages}")
listed = subprocess.run([BUILD / "bin/inspect_cxr", "experiment", "none"], capture_output=True, text=True)
expect(listed.returncode == 2 and all(name in listed.stderr for name in EXPERIMENTS.values()), listed.stderr)
for page in pages:
    blocks = re.findall(r"^```sh\n([^\n]+)\n```\n```text\n(.*?)^```$", text(f"docs/precision/{page}.md"), re.M | re.S)
    experiment = f"build/bin/inspect_cxr experiment {EXPERIMENTS[page]}"
    commands = [command for command, _ in blocks]
    expect(commands[-1:] == [experiment] and len(commands) == 1 + (page == "2-tape"), f"{page}: {commands}")
    if page == "6-gpu" and not HOST_CUDA:
        print("SKIPPED: page 6, for this build has no host_cuda")
        continue
    for command, quoted in blocks:
        out = run(command)
        compare(page, quoted.splitlines(), out)
        if "--explain" in command:
            check_walk(out)
        elif command == experiment:
            globals()[f"claims_of_{EXPERIMENTS[page]}"](out)

# In f32 nothing is of 16 bits, and nothing is cast.
for line in run("build/bin/inspect_cxr precision --explain --image_shape 3,32,32 --device reference "
                "--precision_dtype float32"):
    expect(not re.search(r"\bb?f16\b|\bcast\b", line), f"a walk in f32 has {line}")
finish(faults)
