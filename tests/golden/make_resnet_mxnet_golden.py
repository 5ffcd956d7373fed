"""Writes resnet_mxnet.json: the ResNets of MXNet's image classification examples (v2, v1, the small
nets), written here in PyTorch from their description, under MXNet's names. Of each depth its tensors;
of a few narrow nets one step and one evaluation, as make_resnet_golden.py has them."""

import torch
import torch.nn.functional as F

import formula
from make_resnet_golden import names, step_golden

LARGE = {18: [2, 2, 2, 2], 34: [3, 4, 6, 3], 50: [3, 4, 6, 3], 101: [3, 4, 23, 3],
         152: [3, 8, 36, 3], 200: [3, 24, 36, 3]}
SMALL = {depth: [(depth - 2) // 6] * 3 for depth in (20, 32, 44, 56, 110)}


class MxnetResNet(torch.nn.Module):
    """Flat: every tensor is an attribute of its MXNet name. The whole net stands in walk(), which
    makes the tensors when it has no input (None) and else computes."""

    def __init__(self, version, depth, width, num_classes):
        super().__init__()
        self.version, self.depth, self.width, self.classes = version, depth, width, num_classes
        self.making = True
        self.walk(None, 3)
        self.making = False

    def forward(self, x):
        return self.walk(x, 3)

    def parameter(self, name, *shape):
        if self.making:
            self.register_parameter(name, torch.nn.Parameter(torch.zeros(shape)))
        return getattr(self, name)

    def convolution(self, x, name, inputs, outputs, kernel, stride):
        w = self.parameter(name + "_weight", outputs, inputs, kernel, kernel)
        return None if self.making else F.conv2d(x, w, stride=stride, padding=kernel // 2)

    def norm(self, x, name, channels, fix_gamma=False):
        gamma = None if fix_gamma else self.parameter(name + "_gamma", channels)
        beta = self.parameter(name + "_beta", channels)
        if self.making:
            self.register_buffer(name + "_moving_mean", torch.zeros(channels))
            self.register_buffer(name + "_moving_var", torch.zeros(channels))
            return None
        mean, var = getattr(self, name + "_moving_mean"), getattr(self, name + "_moving_var")
        return F.batch_norm(x, mean, var, gamma, beta, self.training, momentum=0.1, eps=2e-5)

    def relu(self, x):
        return None if self.making else F.relu(x)

    def walk(self, x, channels):
        small = self.depth in SMALL
        if self.version == 2:
            x = self.norm(x, "bn_data", channels, fix_gamma=True)
        if small:
            x = self.convolution(x, "conv0", channels, self.width, 3, 1)
            if self.version == 1:
                x = self.norm(x, "bn0", self.width)
        else:
            x = self.convolution(x, "conv0", channels, self.width, 7, 2)
            x = self.relu(self.norm(x, "bn0", self.width))
            x = None if self.making else F.max_pool2d(x, 3, 2, 1)
        channels = self.width
        bottleneck = self.depth >= 50 and not small
        for stage, units in enumerate((SMALL if small else LARGE)[self.depth]):
            middle = self.width * 2**stage
            outputs = 4 * middle if bottleneck else middle
            for unit in range(units):
                name = f"stage{stage + 1}_unit{unit + 1}"
                stride = 2 if stage and not unit else 1
                make = {(1, False): self.basic1, (1, True): self.bottleneck1,
                        (2, False): self.basic2, (2, True): self.bottleneck2}
                x = make[self.version, bottleneck](
                    x, name, channels, middle, outputs, stride, first=unit == 0)
                channels = outputs
        if self.version == 2:
            x = self.relu(self.norm(x, "bn1", channels))
        w = self.parameter("fc1_weight", self.classes, channels)
        b = self.parameter("fc1_bias", self.classes)
        return None if self.making else F.linear(x.mean((2, 3)), w, b)

    # v1: convolution, norm, ReLU; the sum goes through a ReLU.
    def end1(self, x, y, name, inputs, outputs, stride, first):
        if first:
            x = self.convolution(x, name + "_conv1sc", inputs, outputs, 1, stride)
            x = self.norm(x, name + "_sc", outputs)
        return None if self.making else F.relu(x + y)

    def basic1(self, x, name, inputs, middle, outputs, stride, first):
        y = self.convolution(x, name + "_conv1", inputs, middle, 3, stride)
        y = self.relu(self.norm(y, name + "_bn1", middle))
        y = self.convolution(y, name + "_conv2", middle, outputs, 3, 1)
        y = self.norm(y, name + "_bn2", outputs)
        return self.end1(x, y, name, inputs, outputs, stride, first)

    def bottleneck1(self, x, name, inputs, middle, outputs, stride, first):
        y = self.convolution(x, name + "_conv1", inputs, middle, 1, stride)
        y = self.relu(self.norm(y, name + "_bn1", middle))
        y = self.convolution(y, name + "_conv2", middle, middle, 3, 1)
        y = self.relu(self.norm(y, name + "_bn2", middle))
        y = self.convolution(y, name + "_conv3", middle, outputs, 1, 1)
        y = self.norm(y, name + "_bn3", outputs)
        return self.end1(x, y, name, inputs, outputs, stride, first)

    # v2: norm, ReLU, convolution; the shortcut starts behind the first ReLU.
    def end2(self, x, activated, y, name, inputs, outputs, stride, first):
        if first:
            x = self.convolution(activated, name + "_sc", inputs, outputs, 1, stride)
        return None if self.making else x + y

    def basic2(self, x, name, inputs, middle, outputs, stride, first):
        activated = self.relu(self.norm(x, name + "_bn1", inputs))
        y = self.convolution(activated, name + "_conv1", inputs, middle, 3, stride)
        y = self.relu(self.norm(y, name + "_bn2", middle))
        y = self.convolution(y, name + "_conv2", middle, outputs, 3, 1)
        return self.end2(x, activated, y, name, inputs, outputs, stride, first)

    def bottleneck2(self, x, name, inputs, middle, outputs, stride, first):
        activated = self.relu(self.norm(x, name + "_bn1", inputs))
        y = self.convolution(activated, name + "_conv1", inputs, middle, 1, 1)
        y = self.relu(self.norm(y, name + "_bn2", middle))
        y = self.convolution(y, name + "_conv2", middle, middle, 3, stride)
        y = self.relu(self.norm(y, name + "_bn3", middle))
        y = self.convolution(y, name + "_conv3", middle, outputs, 1, 1)
        return self.end2(x, activated, y, name, inputs, outputs, stride, first)


def tensors(version, depth):
    with torch.device("meta"):
        return names(lambda: MxnetResNet(version, depth, 16 if depth in SMALL else 64, 1000))


def step(version, depth, width, autocast=False):
    def make(num_classes):
        return MxnetResNet(version, depth, width, num_classes)

    golden = {"arch": f"v{version}", "num_layers": depth,
              "base_width": 4 * width if depth in SMALL else width}
    golden |= step_golden(make, side=32 if depth in SMALL else 96, entries=4, autocast=autocast)
    return golden


if __name__ == "__main__":
    depths = [*LARGE, *SMALL]
    formula.write("resnet_mxnet.json", "make_resnet_mxnet_golden.py", {
        "depths": {f"v{v}": {str(d): tensors(v, d) for d in depths} for v in (2, 1)},
        "steps": [step(2, 50, 8, autocast=True), step(2, 18, 16), step(1, 50, 8), step(1, 18, 16),
                  step(2, 20, 16), step(1, 20, 16)],
    })
