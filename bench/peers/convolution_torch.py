"""PyTorch's time for the convolutions that `./pneuma bench kernels --json FILE` measured, beside ours:
channels_last, fp32, on the CPU, medians; what the launches of one training step add up to.
usage: convolution_torch.py FILE [runs]"""
import json
import statistics
import sys
import time

import torch

if len(sys.argv) < 2:
    sys.exit(__doc__)
with open(sys.argv[1]) as file:
    report = json.load(file)
runs = int(sys.argv[2]) if len(sys.argv) > 2 else 20
torch.set_num_threads(2)
# Our kernel, and which gradients PyTorch is asked for: of x, w, bias.
PASSES = {"convolution_forward": None, "convolution_backward_data": (True, False, False),
          "convolution_backward_weights": (False, True, False)}
flush = torch.zeros(report["flushed_bytes"] // 4)
ours, theirs = dict.fromkeys(PASSES, 0.0), dict.fromkeys(PASSES, 0.0)


def tensor(dims):  # ours are NHWC and OHWI
    n, h, w, c = dims
    return torch.randn(n, c, h, w).to(memory_format=torch.channels_last)


for row in report["results"]:
    if row["kernel"] not in PASSES or not row["times"] or "skipped" in row:
        continue
    operands, mask = row["operands"], PASSES[row["kernel"]]
    x = tensor(operands.get("x") or operands["dx"])
    w = tensor(operands.get("w") or operands["dw"])
    arguments = ([row["stride"]] * 2, [row["padding"]] * 2, [1, 1], False, [0, 0], 1)
    run = lambda: torch.ops.aten.convolution(x, w, None, *arguments)
    if mask:
        dy = torch.randn_like(run())
        run = lambda: torch.ops.aten.convolution_backward(dy, x, w, None, *arguments, mask)
    seconds = []
    for _ in range(runs + 2):
        flush.add_(1)
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    ours[row["kernel"]] += row["times"] * row["median_ms"]
    theirs[row["kernel"]] += row["times"] * statistics.median(seconds[2:]) * 1e3

print(f"ours: {report['device']}, commit {report['build']['commit']}; theirs: torch {torch.__version__}")
for kernel in [*PASSES, "together"]:
    pair = [sum(t.values()) if kernel == "together" else t[kernel] for t in (ours, theirs)]
    print(f"{kernel:30} ours {pair[0]:9.1f} ms, theirs {pair[1]:9.1f} ms, ratio "
          f"{pair[1] / max(pair[0], 1e-9):.2f}")
