"""Writes optimizers.json: 30 steps of each optimizer on a narrow ResNet-10 fed with real images.

usage: make_optimizer_golden.py FOLDER   (nih_64_followup: images/ and Data_Entry_2017.csv)

Images: the first 240 rows of the CSV in its order, 64x64, alpha dropped. A pixel of the input is the
mean of a 2x2 square of grays minus 128, over 64 (exact in float32), the same in three channels.
The update rules are written out, as in kernels/pointwise.h. float32 runs four times, in each of
PyTorch's memory layouts with and without oneDNN: after a few steps such runs are as far from each
other as from float64, so one of them alone would be a matter of luck. What is kept is the distance
of their losses, and of their last weights, from float64's.
"""

import csv
import pathlib
import sys

import numpy
import PIL.Image
import torch

import formula

STEPS, BATCH, SIDE, WIDTH = 30, 8, 32, 8
FINDINGS = (
    "Atelectasis Cardiomegaly Consolidation Edema Effusion Emphysema Fibrosis Hernia Infiltration Mass "
    "Nodule Pleural_Thickening Pneumonia Pneumothorax"
).split()
RATES = {"sgd": 0.05, "nag": 0.02, "adam": 0.001, "rmsprop": 0.0003}
DECAY, MOMENTUM, BETA_1, BETA_2, GAMMA, EPS = 1e-4, 0.9, 0.9, 0.999, 0.9, 1e-8


def read(folder, steps=STEPS):
    images, labels = [], []
    with open(folder / "Data_Entry_2017.csv") as file:
        rows = list(csv.reader(file))[1 : 1 + steps * BATCH]
    for row in rows:
        picture = PIL.Image.open(folder / "images" / row[0])
        gray = numpy.asarray(picture.convert("RGB"))[:, :, 0].astype(numpy.float64)
        assert gray.shape == (2 * SIDE, 2 * SIDE)
        mean = (gray[::2, ::2] + gray[::2, 1::2] + gray[1::2, ::2] + gray[1::2, 1::2]) / 4
        images.append(numpy.stack([(mean - 128) / 64] * 3))
        labels.append([float(f in row[1].split("|")) for f in FINDINGS])
    return torch.from_numpy(numpy.stack(images)), torch.tensor(labels, dtype=torch.float64)


def update(kind, lr, t, p, wd, state):
    """One step of one parameter; `state` holds its moments."""
    g = p.grad
    if kind == "sgd":  # m = mu m - lr (g + wd w); w += m
        state[0].mul_(MOMENTUM).sub_(lr * (g + wd * p))
        p += state[0]
    elif kind == "nag":  # g += wd w; m = mu m + g; w -= lr (g + mu m)
        g = g + wd * p
        state[0].mul_(MOMENTUM).add_(g)
        p -= lr * (g + MOMENTUM * state[0])
    elif kind == "adam":  # the rate carries both bias corrections, so eps is not corrected
        state[0].mul_(BETA_1).add_((1 - BETA_1) * g)
        state[1].mul_(BETA_2).add_((1 - BETA_2) * g * g)
        rate = lr * (1 - BETA_2**t) ** 0.5 / (1 - BETA_1**t)
        p -= rate * state[0] / (state[1].sqrt() + EPS)
    else:  # rmsprop: eps inside the root
        state[0].mul_(GAMMA).add_((1 - GAMMA) * g * g)
        p -= lr * g / (state[0] + EPS).sqrt()


def decays(name):
    """Weights and norm scales; biases and norm shifts do not decay."""
    return name.endswith("weight")


def train(kind, images, labels, dtype, layout=torch.contiguous_format, gradients=None):
    """Losses and last weights; `gradients`, where given, gets those of the first step by name."""
    network = formula.NarrowResNet(WIDTH, len(FINDINGS))
    formula.fill(network)
    network.to(dtype).to(memory_format=layout).train()
    wd = DECAY if kind in ("sgd", "nag") else 0.0
    state = {n: [torch.zeros_like(p), torch.zeros_like(p)] for n, p in network.named_parameters()}
    losses = []
    for t in range(len(images) // BATCH):
        batch = slice(t * BATCH, (t + 1) * BATCH)
        network.zero_grad()
        logits = network(images[batch].to(dtype).contiguous(memory_format=layout))
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, labels[batch].to(dtype))
        loss.backward()
        losses.append(float(loss.detach()))
        if gradients is not None and t == 0:
            gradients.update((n, p.grad.clone()) for n, p in network.named_parameters())
        with torch.no_grad():
            for n, p in network.named_parameters():
                update(kind, RATES[kind], t + 1, p, wd if decays(n) else 0.0, state[n])
    return losses, {n: p.detach() for n, p in network.named_parameters()}


def distance(a, truth):
    """||a - truth|| / ||truth|| over a list of tensors."""
    flat = lambda tensors: torch.cat([torch.as_tensor(t).to(torch.float64).reshape(-1) for t in tensors])
    return float((flat(a) - flat(truth)).norm() / flat(truth).norm())


def single_set_ups():
    """Each way in which PyTorch computes in float32 here: the layout to use, while it is in force."""
    for layout in (torch.contiguous_format, torch.channels_last):
        for onednn in (True, False):
            with torch.backends.mkldnn.flags(enabled=onednn):
                yield layout


if __name__ == "__main__":
    torch.set_num_threads(1)
    images, labels = read(pathlib.Path(sys.argv[1]))
    golden = {
        "images": formula.sketch("images", images),
        "labels": formula.sketch("labels", labels),
        "optimizers": {},
    }
    for kind in RATES:
        losses, weights = train(kind, images, labels, torch.float64)
        single = [train(kind, images, labels, torch.float32, layout) for layout in single_set_ups()]
        golden["optimizers"][kind] = {
            "learning_rate": RATES[kind],
            "losses": losses,
            "weights": {n: formula.sketch(n, w) for n, w in weights.items()},
            "float32_losses": [distance(s[0], losses) for s in single],
            "float32_weights": [distance(s[1].values(), weights.values()) for s in single],
        }
        print(kind, losses[0], losses[-1], golden["optimizers"][kind]["float32_losses"],
              golden["optimizers"][kind]["float32_weights"], flush=True)
    formula.write("optimizers.json", "make_optimizer_golden.py", golden)
