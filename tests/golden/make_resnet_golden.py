"""Writes resnet18.json, resnet50.json (one training step and one evaluation, PyTorch float64, with
the distance from it of float32 and of autocast to bfloat16 and float16) and resnet_names.json
(torchvision's tensors at every depth)."""

import torch
import torchvision

import formula

BATCH, SIDE, CLASSES = 2, 64, 14
AUTOCAST = {"bfloat16": 1, "float16": 1024}  # and the loss scale, as a GradScaler's


def run(network, dtype, autocast=None):
    """One step on the formula's batch: logits, loss and gradients, statistics, then evaluation."""
    low = torch.autocast("cpu", getattr(torch, autocast or "bfloat16"), enabled=bool(autocast))
    scale = AUTOCAST.get(autocast, 1)
    formula.fill(network, apart=True)
    network.to(dtype)
    shape = (BATCH, 3, SIDE, SIDE)
    x = torch.from_numpy(formula.uniform("image", BATCH * 3 * SIDE * SIDE).reshape(shape)).to(dtype)
    labels = torch.from_numpy(formula.uniform("labels", BATCH * CLASSES) > 0.5)
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


def step_golden(make):
    truth = run(make(num_classes=CLASSES), torch.float64)
    rounded = {name: run(make(num_classes=CLASSES), torch.float32, name) for name in AUTOCAST}
    rounded["float32"] = run(make(num_classes=CLASSES), torch.float32)
    golden = {"batch": BATCH, "side": SIDE, "classes": CLASSES, "loss_scales": AUTOCAST}
    for key in ("evaluation", "logits", "loss"):
        golden[key] = truth[key].reshape(-1).tolist()
    for key in ("gradients", "statistics"):
        golden[key] = {
            name: formula.sketch(name, t) | {p: distance(r[key][name], t) for p, r in rounded.items()}
            for name, t in truth[key].items()
        }
    golden["distances"] = {
        key: {precision: distance(r[key], truth[key]) for precision, r in rounded.items()}
        for key in ("evaluation", "logits", "loss")
    }
    for precision in rounded:
        own = sorted(g[precision] for g in golden["gradients"].values())
        print(precision, {key: d[precision] for key, d in golden["distances"].items()},
              "gradients: median", own[len(own) // 2], "worst", own[-1])
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
