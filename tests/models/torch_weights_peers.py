"""torchvision loads what export_model writes, and its logits equal ours; its .pth goes through
convert_weights.py and starts a run with every weight as it was.

torch_weights_peers.py BUILD_FOLDER
"""
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import torch
import torchvision
from PIL import Image
from safetensors.torch import load_file

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parents[1] / "repo")]
from peer_models import BIN, CLASSES, FOLDER, MEAN, SIDE, STD, check_logits, data, expect, faults, predictions, run, trained  # noqa: E402,E501
from repo import ROOT, finish  # noqa: E402

CONVERT = [sys.executable, ROOT / "apps/launch/convert_weights.py"]


def converted(source, output):
    done = subprocess.run(list(map(str, [*CONVERT, source, output])), capture_output=True, text=True)
    expect(not done.stderr or done.stderr.count("\n") == 1, f"one sentence: {done.stderr}")
    return done.returncode, done.stdout + done.stderr


for depth in (18, 50):
    what = f"ResNet-{depth} v1.5"
    folder = trained(what, "--num_layers", depth)
    run(BIN / "export_model", folder / "best.safetensors", "--format", "torchvision", "--output",
        folder / "torchvision.safetensors")
    network = getattr(torchvision.models, f"resnet{depth}")(num_classes=CLASSES).eval()
    network.load_state_dict(load_file(folder / "torchvision.safetensors"), strict=True)
    names, ours = predictions(folder)
    x = np.stack([np.asarray(Image.open(name).convert("RGB"), np.float32) for name in names])
    x = torch.from_numpy((x - np.float32(MEAN)) / np.float32(STD)).permute(0, 3, 1, 2)
    with torch.no_grad():
        check_logits(what, network(x).tolist(), ours)

# From a download to a run.
torch.manual_seed(1)
network = torchvision.models.resnet18()
state = network.state_dict()
for name, t in state.items():
    if name.endswith("running_var"):
        t.uniform_(0.5, 2)
    elif name.endswith(("running_mean", "num_batches_tracked")):
        t.fill_(3)
forms = {"plain": state, "checkpoint": {"epoch": 3, "state_dict": {f"module.{n}": t for n, t in state.items()}},
         "half": {n: t.half() if t.is_floating_point() else t for n, t in state.items()}}
for form, content in forms.items():
    torch.save(content, FOLDER / f"{form}.pth")
    code, said = converted(FOLDER / f"{form}.pth", FOLDER / f"{form}.safetensors")
    expect(code == 0 and "122 tensors" in said, f"{form}: {said}")
    for name, t in load_file(FOLDER / f"{form}.safetensors").items():
        truth = forms["half" if form == "half" else "plain"][name]
        expect(t.dtype == truth.dtype and torch.equal(t, truth), f"{form}: {name}")
    start = FOLDER / f"start of {form}"
    said = run(BIN / "train_cxr", "--data", data(), "--output", FOLDER / f"from {form}", "--pretrained",
               FOLDER / f"{form}.safetensors", "--image_shape", f"3,{SIDE},{SIDE}", "--resize", "none",
               "--max_steps", 1, "--mini_batch_size", 4, "--device", "cpu", "--save_init", start)
    expect("100 of 102 tensors loaded" in said and "1000 outputs there" in said, f"{form}: {said[-300:]}")
    for name, t in load_file(start).items():
        if not name.startswith("fc."):
            expect(torch.equal(t, state[name].half().float() if form == "half" else state[name]), name)
print("from .pth: every weight as it was, in three forms")


class Hostile:
    def __reduce__(self):
        return (open, (str(FOLDER / "was here"), "w"))


torch.save({"w": Hostile()}, FOLDER / "hostile.pth")
torch.save([1, 2], FOLDER / "list.pth")
torch.save(state, FOLDER / "short.pth")
(FOLDER / "short.pth").write_bytes((FOLDER / "short.pth").read_bytes()[:100_000])
(FOLDER / "text.pth").write_text("not weights")
for name, wanted in {"hostile.pth": 3, "list.pth": 3, "short.pth": 3, "text.pth": 3, "absent.pth": 3}.items():
    code, said = converted(FOLDER / name, FOLDER / "none.safetensors")
    print(said.strip()[:160])
    expect(code == wanted and said.startswith("convert_weights.py: "), f"{name}: {code} {said}")
expect(converted(FOLDER / "plain.pth", FOLDER / "no/such")[0] == 4, "a folder that is not there")
expect(not (FOLDER / "was here").exists() and not list(FOLDER.glob("none*")), "nothing ran or was left")
shutil.rmtree(FOLDER)
finish(faults)
