"""Numbers that Python and C++ (formula.h) both compute, so that a golden file keeps results alone.

A number is a pure function of a tensor's name and of an index in row-major order of PyTorch's layout
(images NCHW, convolutions OIHW): splitmix64 of FNV-1a(name) + index -> u in [-1, 1), a multiple of
2^-23. All values are rounded to float32, so that the float64 and the float32 run start alike.
"""

import json
import math
import pathlib

import numpy
import torch
import torchvision

FOLDER = pathlib.Path(__file__).resolve().parent
ENTRIES = 64


def fnv1a(text):
    h = 0xCBF29CE484222325
    for byte in text.encode():
        h = (h ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return h


def bits(name, count):
    """The splitmix64 stream of a name, uint64 [count]."""
    with numpy.errstate(over="ignore"):
        z = numpy.uint64(fnv1a(name)) + numpy.arange(1, count + 1, dtype=numpy.uint64) * numpy.uint64(
            0x9E3779B97F4A7C15
        )
        z = (z ^ (z >> numpy.uint64(30))) * numpy.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> numpy.uint64(27))) * numpy.uint64(0x94D049BB133111EB)
        return z ^ (z >> numpy.uint64(31))


def uniform(name, count):
    """[-1, 1) in steps of 2^-23, float64 [count]."""
    return (bits(name, count) >> numpy.uint64(40)).astype(numpy.float64) * 2.0**-23 - 1.0


def value_of(name, shape, apart):
    """The start of a parameter or buffer, float64 holding float32 values.

    `apart`: norms whose shifts are 2 to 3 times their scales, so that few inputs of a ReLU lie near 0.
    Of a million that do not, some lie within float32's rounding of 0; two float32 runs then fall on
    different sides, and gradients differ by percents, which hides what a test looks for.
    """
    u = uniform(name, math.prod(shape))
    # The last norm of a bottleneck adds a little only. Set apart, MXNet's narrow nets would have no
    # channel left there that a ReLU cuts, and so shifts whose true gradient is 0.
    little = name.endswith("bn3.weight") or name.endswith("bn3_gamma") and not apart
    if len(shape) == 4:  # variance 2 / fan_out
        v = u * math.sqrt(6.0 / (shape[0] * shape[2] * shape[3]))
    elif len(shape) == 2:  # of the last layer
        v = u / math.sqrt(shape[1])
    elif name.endswith("_var"):
        v = 1 + u / 2
    elif name.endswith(("weight", "gamma")):  # of a norm
        v = (1 + u / 4) * (0.25 if little else 1) * (0.5 if apart else 1)
    elif apart and name.endswith(("bias", "beta")) and not name.startswith("fc"):  # norm shifts
        v = u / 2 + numpy.where(u < 0, -1.0, 1.0)
    else:  # norm shifts, running means, the last bias
        v = u / 8
    return v.astype(numpy.float32).astype(numpy.float64).reshape(shape)


def fill(network, apart=False):
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if not name.endswith("num_batches_tracked"):
                tensor.copy_(torch.from_numpy(value_of(name, tuple(tensor.shape), apart)))


def sketch(name, tensor, entries=ENTRIES):
    """Norm, sum, two random projections and some entries of a tensor, in place of the whole."""
    v = tensor.detach().to(torch.float64).numpy().reshape(-1)
    places = bits(name + ".entries", entries) % numpy.uint64(v.size)
    return {
        "norm": float(numpy.sqrt((v * v).sum())),
        "sum": float(v.sum()),
        "projections": [float((v * uniform(f"{name}.projection{k}", v.size)).sum()) for k in (0, 1)],
        "entries": [float(x) for x in v[places.astype(numpy.int64)]],
    }


class NarrowResNet(torchvision.models.ResNet):
    """ResNet-10 of a small width: torchvision's blocks, one a stage."""

    def __init__(self, width, num_classes):
        block = torchvision.models.resnet.BasicBlock
        super().__init__(block, [1, 1, 1, 1], num_classes)
        self.inplanes = width
        self.conv1 = torch.nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1 = torch.nn.BatchNorm2d(width)
        self.layer1 = self._make_layer(block, width, 1)
        self.layer2 = self._make_layer(block, 2 * width, 1, 2)
        self.layer3 = self._make_layer(block, 4 * width, 1, 2)
        self.layer4 = self._make_layer(block, 8 * width, 1, 2)
        self.fc = torch.nn.Linear(8 * width, num_classes)


def write(name, script, content):
    head = {
        "magic": "pneuma golden",
        "version": 1,
        "regenerate": f"python3 tests/golden/{script} with PyTorch and torchvision",
        "torch": torch.__version__.split("+")[0],
    }
    text = json.dumps(head | content, indent=None, separators=(",", ":"))
    (FOLDER / name).write_text(text.replace('},"', '},\n"') + "\n")
