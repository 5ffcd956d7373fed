"""Golden values of the training loop's parts by PyTorch in f64: python3 make_training_golden.py

Learning rates of each update, gradients clipped to a norm, and both weighted losses with their
gradients; training.json beside this file.
"""
import formula
import torch
from torch.optim import lr_scheduler

torch.set_default_dtype(torch.float64)
RATE = 0.05


def rates(kind, updates, epoch=1, epochs=(), factor=0.1, warmup=0):
    """An update's rate is the one in force when it is made; PyTorch's step() follows it."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], RATE)
    rise = lambda: lr_scheduler.LinearLR(optimizer, 1 / warmup, 1, warmup - 1)
    if kind == "cosine":
        falling = lambda: lr_scheduler.CosineAnnealingLR(optimizer, updates - warmup)
        schedule = falling() if not warmup else lr_scheduler.SequentialLR(
            optimizer, [rise(), falling()], [warmup])
    elif kind == "step":
        falling = lr_scheduler.MultiStepLR(optimizer, [epoch * e for e in epochs], factor)
        schedule = falling if not warmup else lr_scheduler.ChainedScheduler([rise(), falling])
    else:
        schedule = rise()
    given = []
    for _ in range(updates):
        given.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return {"kind": kind, "updates": updates, "epoch": epoch, "epochs": list(epochs),
            "factor": factor, "warmup": warmup, "rates": given}


def clipped(most):
    gradients = [torch.sin(torch.arange(30.) + 1), 2 * torch.cos(torch.arange(7.))]
    parameters = [torch.zeros_like(g, requires_grad=True) for g in gradients]
    for p, g in zip(parameters, gradients):
        p.grad = g.clone()
    norm = torch.nn.utils.clip_grad_norm_(parameters, most)
    return {"gradients": [g.tolist() for g in gradients], "most": most, "norm": norm.item(),
            "clipped": [p.grad.tolist() for p in parameters]}


def weighted():
    images, classes = 6, 4
    index = torch.arange(images * classes).reshape(images, classes)
    labels = ((index * 7) % 5 < 2).double()
    labels[:, 2], labels[:, 3] = 0, 0  # a finding that nobody has, one that one image has
    labels[4, 3] = 1
    positives = labels.sum(0)
    weights = torch.where(positives > 0, images / positives.clamp(min=1), 1.)
    entry = {"images": images, "classes": classes, "labels": labels.flatten().tolist(),
             "weights": weights.tolist()}
    for name, loss in (("positive", torch.nn.BCEWithLogitsLoss(pos_weight=weights)),
                       ("class", torch.nn.BCEWithLogitsLoss(weight=weights))):
        logits = (3 * torch.sin(index.double() * 1.7)).requires_grad_()
        value = loss(logits, labels)
        value.backward()
        if name == "class":  # the other spelling of it
            other = torch.nn.BCELoss(weight=weights)(torch.sigmoid(logits), labels)
            assert abs((value - other).item()) < 1e-12
        entry["logits"] = logits.detach().flatten().tolist()
        entry[name] = {"loss": value.item(), "gradient": logits.grad.flatten().tolist()}
    return entry


formula.write("training.json", "make_training_golden.py", {
    "rate": RATE,
    "schedules": [rates("step", 40, epoch=4, epochs=(2, 5, 6)),
                  rates("step", 30, epoch=3, epochs=(1, 4), factor=0.5, warmup=5),
                  rates("cosine", 40), rates("cosine", 40, warmup=8),
                  rates("constant", 12, warmup=7)],
    "clipping": [clipped(3.0), clipped(100.0)],
    "weighted": weighted(),
})
