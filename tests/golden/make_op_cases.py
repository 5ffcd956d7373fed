"""Golden values of tests/ops/op_cases.cpp by PyTorch in f64: python3 make_op_cases.py BUILD_DIR

The test program writes the inputs of its cases; this computes each case from its name and inputs and
keeps, for every result, its norm and two projections, in op_cases.json beside this file.
"""
import json
import os
import re
import subprocess
import sys
import tempfile

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

torch.set_default_dtype(torch.float64)
HERE = os.path.dirname(os.path.abspath(__file__))
MEAN, STD = np.float32([123.675, 116.28, 103.53]), np.float32([58.395, 57.12, 57.375])
ITEM = np.dtype([("offset", "<i8"), ("height", "<i4"), ("width", "<i4"), ("channels", "<i4"),
                 ("crop_y", "<i4"), ("crop_x", "<i4"), ("mirror", "<i4"), ("hue", "<i4"),
                 ("lightness", "<i4"), ("saturation", "<i4"), ("transform", "<i4"),
                 ("affine", "<f4", 6), ("border", "<i4"), ("reserved", "<i4")])


def nchw(t):
    return t.permute(0, 3, 1, 2)


def nhwc(t):
    return t.permute(0, 2, 3, 1)


def convolution(name, x, w):
    stride, padding = map(int, re.search(r"/ (\d+) \+ (\d+)", name).groups())
    return nhwc(F.conv2d(nchw(x), nchw(w), stride=stride, padding=padding))


def batch_norm(name, x, residual, gamma, beta, mean, var):
    gamma = None if "without gamma" in name else gamma
    y = nhwc(F.batch_norm(nchw(x), mean, var, gamma, beta, "inference" not in name, 0.1, 1e-5))
    if "add" in name:
        y = y + residual
    return torch.relu(y) if "relu" in name else y


def max_pool(name, x):
    window, stride, padding = map(int, re.search(r"window (\d+) / (\d+) \+ (\d+)", name).groups())
    return nhwc(F.max_pool2d(nchw(x), window, stride, padding))


def sigmoid_cross_entropy(name, z, y, w_pos, w_neg):
    if "weighted" not in name and "far" not in name and "scale" not in name:
        w_pos = w_neg = torch.ones(z.shape[1])
    known = ~torch.isnan(y)
    y = torch.where(known, y, 0)
    # softplus as logaddexp: F.softplus turns linear beyond a threshold.
    loss = w_pos * y * torch.logaddexp(-z, torch.zeros(1)) \
        + w_neg * (1 - y) * torch.logaddexp(z, torch.zeros(1))
    return torch.where(known, loss, 0).mean().reshape(1)


def warped(image, affine, border):
    """Bilinear at affine * (x, y, 1), the border's level outside, a tie goes to the even level."""
    height, width, _ = image.shape
    padded = np.pad(image.astype(np.float64), ((2, 2), (2, 2), (0, 0)), constant_values=border)
    y, x = np.mgrid[0:height, 0:width]
    m = affine.astype(np.float64)
    from_x = np.clip(m[0] * x + m[1] * y + m[2], -2, width + 0.999)
    from_y = np.clip(m[3] * x + m[4] * y + m[5], -2, height + 0.999)
    left, top = np.floor(from_x).astype(int), np.floor(from_y).astype(int)
    right, down = (from_x - left)[..., None], (from_y - top)[..., None]
    at = lambda dy, dx: padded[top + dy + 2, left + dx + 2]
    upper = at(0, 0) * (1 - right) + at(0, 1) * right
    lower = at(1, 0) * (1 - right) + at(1, 1) * right
    return np.rint(upper * (1 - down) + lower * down)


def recoloured(image, *shifts):
    """Shifts of hue, lightness and saturation in OpenCV's 8-bit HLS, each clamped to its range."""
    hls = cv2.cvtColor(np.ascontiguousarray(image, np.uint8), cv2.COLOR_RGB2HLS).astype(int) + shifts
    return cv2.cvtColor(hls.clip(0, (180, 255, 255)).astype(np.uint8), cv2.COLOR_HLS2RGB)


def augment(name, pixels, items):
    shape = [int(v) for v in re.search(r"-> \[(.*)\]", name).group(1).split(",")]
    y = np.empty(shape)
    for n, k in enumerate(np.frombuffer(bytes(items), ITEM)):
        size = k["height"] * k["width"] * k["channels"]
        image = np.frombuffer(bytes(pixels), "u1")[k["offset"]:k["offset"] + size]
        image = image.reshape(k["height"], k["width"], k["channels"])
        if k["transform"]:
            image = warped(image, k["affine"], k["border"])
        image = image[k["crop_y"]:, k["crop_x"]:][:shape[1], :shape[2]]
        shifts = [int(k[name]) for name in ("hue", "lightness", "saturation")]
        if any(shifts):
            image = recoloured(np.broadcast_to(image, (*image.shape[:2], 3)), *shifts)[..., :shape[3]]
        y[n] = image[:, ::-1] if k["mirror"] else image
    c = shape[3]
    return torch.tensor((y - np.float64(MEAN[:c])) / np.float64(STD[:c]))


def resize(name, x):
    """Pillow's, channel by channel; without antialias the same triangle, never widened."""
    height, width = map(int, re.search(r"to (\d+) x (\d+)", name).groups())
    y = np.empty((x.shape[0], height, width, x.shape[3]))
    for n, c in np.ndindex(x.shape[0], x.shape[3]):
        plane = x[n, :, :, c]
        if "linear" in name:
            for axis, size in ((1, width), (0, height)):
                plane = linear_axis(plane, axis, size)
            y[n, :, :, c] = plane
        else:
            y[n, :, :, c] = Image.fromarray(plane).resize((width, height), Image.BILINEAR)
    return torch.tensor(y)


def linear_axis(plane, axis, size):
    rows = np.moveaxis(plane.astype(np.float64), axis, 0)
    place = (np.arange(size) + 0.5) * (len(rows) / size) - 0.5
    low = np.floor(place).astype(int)
    # Weights have 22 bits behind the point, which decides where a sum lies between two levels.
    weight = lambda part: np.floor(0.5 + part * 2**22).reshape(-1, *[1] * (rows.ndim - 1))
    edge = lambda i: rows[np.clip(i, 0, len(rows) - 1)]
    sums = edge(low) * weight(1 - (place - low)) + edge(low + 1) * weight(place - low)
    return np.moveaxis(np.floor(sums / 2**22 + 0.5), 0, axis)


def optimizer(name, inputs):
    kind = name.split()[1]
    tuned = "decay" in name
    scale = 1024.0 if tuned else 8.0 if "bad" in name else 1.0
    lr, mu, b1, b2, gamma, eps = 0.01, 0.9, 0.9, 0.999, 0.9, 1e-8
    values, gradients = inputs[0::2], inputs[1::2]
    m = [torch.zeros_like(w) for w in values]
    v = [torch.zeros_like(w) for w in values]
    loss_scale, t, skipped, bad = scale, 0, 0, -1
    norm = 0.0
    for step in range(3):
        if "bad" in name and step == 1:
            gradients[2].view(-1)[31] = torch.inf
        carried = loss_scale
        infinite = [k for k, g in enumerate(gradients) if not torch.isfinite(g).all()]
        bad = infinite[0] if infinite else -1
        if infinite:
            skipped += 1
            loss_scale /= 2
            continue
        t += 1
        norm = float(torch.sqrt(sum((g / carried).square().sum() for g in gradients)))
        clip = min(1.0, 3 / (norm + 1e-6)) if tuned else 1.0
        for k, w in enumerate(values):
            decay = 0.1 if tuned and kind in ("sgd", "nag") and k != 1 else 0.0
            g = gradients[k] / carried * clip + decay * w
            if kind == "sgd":
                m[k] = mu * m[k] - lr * g
                w += m[k]
            elif kind == "nag":
                m[k] = mu * m[k] + g
                w -= lr * (g + mu * m[k])
            elif kind == "adam":
                m[k] = b1 * m[k] + (1 - b1) * g
                v[k] = b2 * v[k] + (1 - b2) * g * g
                w -= lr * (1 - b2**t)**0.5 / (1 - b1**t) * m[k] / (v[k].sqrt() + eps)
            else:
                m[k] = gamma * m[k] + (1 - gamma) * g * g
                w -= lr * g / torch.sqrt(m[k] + eps)
    moments = [p for pair in zip(m, v) for p in pair] if kind == "adam" else m
    working = [] if "bad" in name else [values[0].clone(), values[2].clone()]
    return [torch.tensor([norm, t, skipped, bad, carried, loss_scale])] + moments + working


def run(name, x):
    op = name.split()[0]
    if op == "convolution":
        return convolution(name, *x)
    if op.startswith("batch_norm"):
        return batch_norm(name, *x)
    if op == "max_pool":
        return max_pool(name, *x)
    if op == "global_average_pool":
        return x[0].mean((1, 2))
    if op == "linear":
        return F.linear(*x)
    if op == "relu":
        return torch.relu(x[0])
    if op == "sigmoid":
        return torch.sigmoid(x[0])
    if op == "scale":
        return -1.75 * x[0]
    if op == "add":
        return x[0] + (x[0] if "itself" in name else x[1])
    if op == "square":
        return x[0] * x[0]
    if op == "multiply":
        return x[0] * x[1]
    if op == "sigmoid_cross_entropy":
        return sigmoid_cross_entropy(name, *x)
    if op == "softmax_cross_entropy":
        return F.cross_entropy(x[0], x[1].long()).reshape(1)
    if op == "augment":
        return augment(name, *x)
    if op == "resize":
        return resize(name, *x)
    if op == "optimizer":
        return optimizer(name, x)
    if op == "gradient_check":
        norm, bad = float(x[0].square().sum().sqrt()), len(x[0]) - 2
        x[0][bad] = torch.inf
        return torch.tensor([norm, float(bad)])
    if op == "fill":
        return x[0].fill_(float(name.split()[-1]))
    if op == "convert":
        return x[1].copy_(x[0] + x[1] if "add" in name else x[0])
    raise SystemExit(f"no formula for the case '{name}'")


def numbers(t):
    v = t.detach().double().numpy().reshape(-1)
    v = np.where(np.isfinite(v), v, 0)
    i = np.arange(len(v), dtype=np.float64)
    return [float(np.sqrt((v * v).sum())), float((v * np.cos(i)).sum()),
            float((v * np.sin(2 * i + 1)).sum())]


def main(build):
    with tempfile.NamedTemporaryFile() as dump:
        subprocess.run([f"{build}/tests/op_cases_test", "-tc=*PyTorch*"], check=True,
                       env={**os.environ, "PNEUMA_DUMP_OP_CASES": dump.name})
        cases = json.load(open(dump.name))
    golden = {}
    for case in cases:
        inputs = []
        for k in case["inputs"]:
            values = k["bytes"] or [float("nan") if v is None else v for v in k["values"]]
            t = np.array(values, "u1" if k["bytes"] else "f8").reshape(k["shape"])
            t = torch.tensor(t)
            inputs.append(t.requires_grad_() if k["gradient"] else t)
        given = [t for t in inputs if t.dtype != torch.uint8]
        results = run(case["name"], [t.numpy() if t.dtype == torch.uint8 else t for t in inputs])
        results = results if isinstance(results, list) else [results]
        entry = {f"result {k}": numbers(t) for k, t in enumerate(results)}
        if any(t.requires_grad for t in given):
            dy = torch.tensor(case["dy"]).reshape(results[0].shape)
            factor = 1024 if "loss scale" in case["name"] else 1
            (results[0] * dy).sum().mul(factor).backward()
        for k, t in enumerate(inputs):
            if k < len(inputs) and t.requires_grad:
                entry[f"gradient {k}"] = numbers(torch.zeros_like(t) if t.grad is None else t.grad)
            entry[f"input {k} afterwards"] = numbers(t)
        golden[case["name"]] = entry
    with open(f"{HERE}/op_cases.json", "w") as f:
        lines = [f"{json.dumps(name)}: {json.dumps(entry)}" for name, entry in golden.items()]
        f.write("{\n" + ",\n".join(lines) + "\n}\n")
    print(f"{len(golden)} cases")


main(sys.argv[1])
