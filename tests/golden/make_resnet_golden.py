"""Writes resnet18.json, resnet50.json (one training step and one evaluation, PyTorch float64, with
float32's own distance from it, and the distances of a few steps of autocast) and resnet_names.json
(torchvision's tensors at every depth)."""

import statistics

import torch
import torchvision

import formula

BATCH, SIDE, CLASSES = 2, 64, 14
AUTOCAST = {"bfloat16": 1, "float16": 1024}  # and the loss scale, as a GradScaler's
DRAWS = 4


def run(network, dtype, autocast=None, apart=True, draw="", side=SIDE):
    """One step on the formula's batch: logits, loss and gradients, statistics, then evaluation."""
    low = torch.autocast("cpu", getattr(torch, autocast or "bfloat16"), enabled=bool(autocast))
    scale = AUTOCAST.get(autocast, 1)
    formula.fill(network, apart)
    network.to(dtype)
    shape = (BATCH, 3, side, side)
    x = torch.from_numpy(formula.uniform("image" + draw, BATCH * 3 * side * side))
    x = x.reshape(shape).to(dtype)
    labels = torch.from_numpy(formula.uniform("labels" + draw, BATCH * CLASSES) > 0.5)
    labels = labels.reshape(BATCH, CLASSES).to(dtype)
    weights = torch.from_numpy(2 + formula.uniform("positive_weight", CLASSES)).to(dtype)
    network.eval()
    with torch.no_grad(), low:
        evaluation = network(x)
    network.train()
    with low:
        logits = network(x)
        loss = torch.nn.BCEWithLogitsLoss(pos_weight=weights)(logits, labels)
    (loss * scale).backward()
    return {
        "evaluation": evaluation,
        "logits": logits.detach(),
        "loss": loss.detach(),
        "gradients": {name: p.grad / scale for name, p in network.named_parameters()},
        "statistics": {name: b for name, b in network.named_buffers() if b.dtype == dtype},
    }


def distance(a, truth):
    return float((a.to(torch.float64) - truth).norm() / truth.norm())


def autocast_golden(make, side):
    """Distances from float64 of DRAWS steps: logits, the medians over gradients and statistics.

    A number that rounding moves across a ReLU's 0 moves every gradient before it. So norms are not
    set apart here: the many that cross make distances that differ little from draw to draw, and the
    few that cross in the step above, ones that differ by up to 7 times."""
    golden = {"draws": DRAWS, "loss_scales": AUTOCAST}
    for precision in AUTOCAST:
        golden[precision] = {"logits": [], "gradients": [], "statistics": []}
    for draw in range(DRAWS):
        start = {"apart": False, "draw": str(draw), "side": side}
        truth = run(make(num_classes=CLASSES), torch.float64, **start)
        for precision in AUTOCAST:
            rounded = run(make(num_classes=CLASSES), torch.float32, precision, **start)
            of = golden[precision]
            of["logits"].append(distance(rounded["logits"], truth["logits"]))
            for key in ("gradients", "statistics"):
                all = [distance(rounded[key][name], t) for name, t in truth[key].items()]
                of[key].append(statistics.median_high(all))
    for precision in AUTOCAST:
        print(precision, golden[precision])
    return golden


def step_golden(make, side=SIDE, entries=formula.ENTRIES, autocast=True):
    truth = run(make(num_classes=CLASSES), torch.float64, side=side)
    single = run(make(num_classes=CLASSES), torch.float32, side=side)
    golden = {"batch": BATCH, "side": side, "classes": CLASSES}
    for key in ("evaluation", "logits", "loss"):
        golden[key] = truth[key].reshape(-1).tolist()
    for key in ("gradients", "statistics"):
        golden[key] = {
            name: formula.sketch(name, t, entries) | {"float32": distance(single[key][name], t)}
            for name, t in truth[key].items()
        }
    for key in ("evaluation", "logits", "loss"):
        print(key, distance(single[key], truth[key]))
    worst = sorted(golden["gradients"].items(), key=lambda item: -item[1]["float32"])[:3]
    print("gradients", [(name, g["float32"]) for name, g in worst])
    if autocast:
        golden["autocast"] = autocast_golden(make, side)
    return golden


def names(make):
    """Counts and a hash of "name [shape]" lines in order: parameters, then statistics."""
    network = make()
    parameters = [(n, list(p.shape)) for n, p in network.named_parameters()]
    statistics = [(n, list(b.shape)) for n, b in network.named_buffers() if b.dim()]
    text = lambda items: "".join(f"{n} {s}\n".replace(", ", ",") for n, s in items)
    return {
        "parameters": len(parameters),
        "numbers": sum(p.numel() for p in network.parameters()),
        "parameters_hash": f"{formula.fnv1a(text(parameters)):016x}",
        "statistics": len(statistics),
        "statistics_hash": f"{formula.fnv1a(text(statistics)):016x}",
    }


if __name__ == "__main__":
    models = torchvision.models
    formula.write("resnet18.json", "make_resnet_golden.py", step_golden(models.resnet18))
    formula.write("resnet50.json", "make_resnet_golden.py", step_golden(models.resnet50))
    depths = {str(n): names(getattr(models, f"resnet{n}")) for n in (18, 34, 50, 101, 152)}
    formula.write("resnet_names.json", "make_resnet_golden.py", {"depths": depths})
