"""What the comparisons of exported models share: small trained models, and their logits."""
import csv
import json
import math
import pathlib
import struct
import subprocess
import sys
import tempfile

BIN = pathlib.Path(sys.argv[1]) / "bin"
FOLDER = pathlib.Path(tempfile.mkdtemp())
SIDE, CLASSES = 64, 14
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
faults = []


def expect(true, what):
    if not true:
        faults.append(f"FAULT: {what}")


def run(*command):
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{command}: {done.stdout[-500:]}{done.stderr[-500:]}")
    return done.stdout


def data():
    folder = FOLDER / "data"
    if not folder.exists():
        run(BIN / "prepare_cxr", "phantoms", "--output", folder, "--patients", 24, "--size", SIDE,
            "--seed", 5)
    return folder


def trained(name, *flags):
    """A run's folder. So slow a rate leaves the weights near their start, and the running
    statistics come near the data's, so that logits are of a usual size."""
    output = FOLDER / name
    where = () if "--train" in flags else ("--data", data())
    run(BIN / "train_cxr", *where, "--output", output, "--image_shape", f"3,{SIDE},{SIDE}", "--device",
        "cpu", "--resize", "none", "--epochs", 5, "--learning_rate", "1e-6", "--mini_batch_size", 4,
        *flags)
    return output


def predictions(folder):
    """Image names and probabilities of a run's test set."""
    with open(folder / "predictions.csv") as file:
        rows = list(csv.DictReader(file))
    return ([data() / row["image"] for row in rows],
            [[float(v) for key, v in row.items() if key.startswith("p_")] for row in rows])


def check_logits(what, theirs, probabilities):
    """Within 1e-4 where |logit| <= 4: beyond, a probability in float32 does not tell its logit to
    that (6e-8 / (p (1 - p)) is 3e-6 at 4)."""
    worst = compared = 0
    for z_row, p_row in zip(theirs, probabilities):
        for z, p in zip(z_row, p_row):
            ours = math.log(p / (1 - p)) if 0 < p < 1 else math.copysign(99, p - 0.5)
            expect(abs(1 / (1 + math.exp(-z)) - p) < 1e-5, f"{what}: probability {p}, logit {z}")
            if abs(ours) <= 4:
                worst, compared = max(worst, abs(z - float(ours))), compared + 1
    print(f"{what}: {compared} logits, at most {worst:.2g} apart")
    expect(worst <= 1e-4, f"{what}: logits are {worst} apart")
    expect(compared >= 10, f"{what}: {compared} logits compared")


def tensors(path):
    """name -> (shape, floats) of a safetensors file of f32."""
    content = path.read_bytes()
    start = 8 + struct.unpack_from("<Q", content)[0]
    header = json.loads(content[8:start])
    header.pop("__metadata__", None)
    for name, t in header.items():
        begin, end = t["data_offsets"]
        yield name, t["shape"], struct.unpack(f"<{(end - begin) // 4}f",
                                              content[start + begin:start + end])
