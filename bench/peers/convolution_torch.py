"""The convolutions of `bench_kernels convolution` in PyTorch: channels_last, fp32, the least of several rounds."""
import sys
import time

import torch

# Input size, input and output channels, kernel, stride, how often: ResNet-50 v1.5 at 224.
SHAPES = [
    (224, 3, 64, 7, 2, 1), (56, 64, 64, 1, 1, 1), (56, 256, 64, 1, 1, 2), (56, 64, 64, 3, 1, 3),
    (56, 64, 256, 1, 1, 4), (56, 256, 128, 1, 1, 1), (56, 128, 128, 3, 2, 1),
    (56, 256, 512, 1, 2, 1), (28, 128, 512, 1, 1, 4), (28, 512, 128, 1, 1, 3),
    (28, 128, 128, 3, 1, 3), (28, 512, 256, 1, 1, 1), (28, 256, 256, 3, 2, 1),
    (28, 512, 1024, 1, 2, 1), (14, 256, 1024, 1, 1, 6), (14, 1024, 256, 1, 1, 5),
    (14, 256, 256, 3, 1, 5), (14, 1024, 512, 1, 1, 1), (14, 512, 512, 3, 2, 1),
    (14, 1024, 2048, 1, 2, 1), (7, 512, 2048, 1, 1, 3), (7, 2048, 512, 1, 1, 2),
    (7, 512, 512, 3, 1, 2),
]
rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 7
torch.set_num_threads(2)
total = [0.0, 0.0, 0.0]
for size, inputs, outputs, kernel, stride, count in SHAPES:
    x = torch.randn(16, inputs, size, size).to(memory_format=torch.channels_last)
    w = torch.randn(outputs, inputs, kernel, kernel).to(memory_format=torch.channels_last)
    arguments = ([stride] * 2, [kernel // 2] * 2, [1, 1], False, [0, 0], 1)
    forward = lambda: torch.ops.aten.convolution(x, w, None, *arguments)
    dy = torch.randn_like(forward())
    backward = lambda *mask: torch.ops.aten.convolution_backward(dy, x, w, None, *arguments, mask)
    passes = [forward, lambda: backward(True, False, False), lambda: backward(False, True, False)]
    best = [1e9] * 3
    for _ in range(rounds):
        for i, run in enumerate(passes):
            start = time.perf_counter()
            run()
            best[i] = min(best[i], time.perf_counter() - start)
    if inputs == 3:
        best[1] = 0.0
    total = [t + count * b for t, b in zip(total, best)]
print("torch %s, all: forward %.0f ms, backward data %.0f ms, weights %.0f ms, together %.0f ms" % (
    torch.__version__, *(1e3 * t for t in total), 1e3 * sum(total)))
