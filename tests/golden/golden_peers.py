"""Every committed golden file is what its script makes: each make_*.py runs again, in a copy.

Versions of the other software may differ; fp32's own distance (`float32`) may differ by a factor, and
what autocast's rounding makes of a step by 30 %: 10 % between instruction sets were seen.
"""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
SHARED = pathlib.Path(os.environ.get("PNEUMA_SHARED", HERE.parents[2] / "shared")) / "data"
BUILD = pathlib.Path(sys.argv[1])
PHANTOMS = tempfile.mkdtemp()
MXNET = HERE.parents[1] / "build/mxnet-peers"  # for scripts that import it
ARGUMENTS = {"make_images.py": SHARED / "odd_images", "make_op_cases.py": BUILD,
             "make_optimizer_golden.py": SHARED / "nih_64_followup",
             "make_phantom_golden.py": pathlib.Path(PHANTOMS)}
VERSIONS = {"torch", "made_with", "scikit_learn", "sklearn", "scikit-learn"}
faults = []


def compare(where, old, new):
    key = where.split(".")[-1]
    if key in VERSIONS:
        return
    if isinstance(old, dict) and isinstance(new, dict) and old.keys() == new.keys():
        for key in old:
            compare(f"{where}.{key}", old[key], new[key])
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, pair in enumerate(zip(old, new)):
            compare(f"{where}[{index}]", *pair)
    elif isinstance(old, float) and isinstance(new, (int, float)):
        most = (9 * old if key == "float32" else 0.3 * old if ".autocast." in where
                else 1e-6 * abs(old) + 1e-9)
        if not abs(old - new) <= most:
            faults.append(f"FAULT: {where}: {old} is committed, {new} is made")
    elif old != new:
        faults.append(f"FAULT: {where}: {str(old)[:80]} is committed, {str(new)[:80]} is made")


def tensors(path):
    content = path.read_bytes()
    end = 8 + int.from_bytes(content[:8], "little")
    return [json.loads(content[8:end]), content[end:]]


subprocess.run([BUILD / "bin/prepare_cxr", "phantoms", "--output", PHANTOMS, "--patients", "200",
                "--size", "64", "--seed", "7"], check=True, stdout=subprocess.DEVNULL)
with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name, "tests/golden")
    folder.mkdir(parents=True)
    for path in [*HERE.glob("*.py"), *HERE.glob("*.h")]:
        shutil.copy(path, folder)
    for script in sorted(folder.glob("make_*.py")):
        argument = ARGUMENTS.get(script.name)
        if argument and not argument.exists():
            print(f"SKIPPED: {script.name}: there is no {argument} (set PNEUMA_SHARED)")
            continue
        mxnet = "import mxnet" in script.read_text()
        if mxnet and not (MXNET / "installed.txt").exists():
            print(f"SKIPPED: {script.name}: there is no MXNet; see bench/peers/mxnet_requirements.txt")
            continue
        before = set(folder.iterdir())
        python = MXNET / "bin/python3" if mxnet else sys.executable
        done = subprocess.run([python, script, *([argument] if argument else [])],
                              capture_output=True, text=True)
        made = [path for path in sorted(set(folder.iterdir()) - before) if path.is_file()]
        if done.returncode or not made:
            faults.append(f"FAULT: {script.name} ended with {done.returncode}: {done.stderr[-500:]}")
        for path in made:
            committed = HERE / path.name
            if not committed.exists():
                faults.append(f"FAULT: {script.name} makes {path.name}, which is not committed")
            elif path.suffix == ".json":
                compare(path.name, json.loads(committed.read_text()), json.loads(path.read_text()))
            elif path.suffix == ".params":
                if committed.read_bytes() != path.read_bytes():
                    faults.append(f"FAULT: {script.name} makes another {path.name}")
            else:  # safetensors: a header whose metadata stand in any order, then the numbers
                compare(path.name, *(tensors(file) for file in (committed, path)))
            print(f"{script.name}: {path.name}")
shutil.rmtree(PHANTOMS)
for fault in faults[:40]:
    print(fault)
print(f"{len(faults)} faults")
sys.exit(1 if faults else 0)
