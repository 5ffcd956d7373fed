"""Writes phantoms.json: one step, then 20 of Adam, of the narrow ResNet-10 of
make_optimizer_golden.py on phantoms.

usage: make_phantom_golden.py FOLDER   (prepare_cxr phantoms --patients 200 --size 64 --seed 7)

Kept of float32 is how far it is from float64: of the first step's gradients by tensor, of the
losses, of the last weights; over each of PyTorch's float32 set-ups.
"""

import pathlib
import sys

import torch

import formula
from make_optimizer_golden import RATES, distance, read, single_set_ups, train

STEPS, KIND = 20, "adam"

if __name__ == "__main__":
    torch.set_num_threads(1)
    images, labels = read(pathlib.Path(sys.argv[1]), STEPS)
    gradients, single = {}, []
    losses, weights = train(KIND, images, labels, torch.float64, gradients=gradients)
    for layout in single_set_ups():
        own = {}
        single.append((*train(KIND, images, labels, torch.float32, layout, own), own))
    first_step = {
        n: {**formula.sketch(n, g), "float32": min(distance([s[2][n]], [g]) for s in single)}
        for n, g in gradients.items()
    }
    golden = {
        "images": formula.sketch("images", images),
        "labels": formula.sketch("labels", labels),
        "learning_rate": RATES[KIND],
        "gradients": first_step,
        "losses": losses,
        "float32_losses": [distance(s[0], losses) for s in single],
        "float32_weights": [distance(s[1].values(), weights.values()) for s in single],
    }
    formula.write("phantoms.json", "make_phantom_golden.py", golden)
