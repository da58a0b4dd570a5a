"""The convolutional network of an architecture in PyTorch, written as timm writes
MobileNetV3. The largest architecture is all of the supernet, so nothing is sliced.

config has
    arch    {"stem", "stem_stride", "features", "mix", "blocks": [{"in", "hidden", "out", "expands",
             "kernel", "stride", "squeeze", "h_swish", "residual"}, ...]}
    model   {"image_size", "channels", "num_classes"}
"""

import torch
import torch.nn.functional as F
from torch import nn


def convolution(inputs, outputs, kernel=1, stride=1, groups=1, bias=False):
    return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=bias)


class SqueezeExcite(nn.Module):
    def __init__(self, size, middle):
        super().__init__()
        self.reduce, self.expand = convolution(size, middle, bias=True), convolution(middle, size, bias=True)

    def forward(self, x):
        means = x.mean((2, 3), keepdim=True)
        return x * F.hardsigmoid(self.expand(F.relu(self.reduce(means))))


class Block(nn.Module):
    def __init__(self, b):
        super().__init__()
        act = nn.Hardswish if b["h_swish"] else nn.ReLU
        layers = []
        if b["expands"]:
            layers += [convolution(b["in"], b["hidden"]), nn.BatchNorm2d(b["hidden"]), act(inplace=True)]
        layers += [
            convolution(b["hidden"], b["hidden"], b["kernel"], b["stride"], b["hidden"]),
            nn.BatchNorm2d(b["hidden"]),
            act(inplace=True),
        ]
        if b["squeeze"]:
            layers.append(SqueezeExcite(b["hidden"], b["squeeze"]))
        layers += [convolution(b["hidden"], b["out"]), nn.BatchNorm2d(b["out"])]
        self.layers, self.residual = nn.Sequential(*layers), b["residual"]

    def forward(self, x):
        return x + self.layers(x) if self.residual else self.layers(x)


class Supernet(nn.Module):
    def __init__(self, config):
        super().__init__()
        m, a = config["model"], config["arch"]
        self.stem = convolution(m["channels"], a["stem"], 3, a["stem_stride"])
        self.stem_norm = nn.BatchNorm2d(a["stem"])
        self.blocks = nn.Sequential(*(Block(b) for b in a["blocks"]))
        self.last = convolution(a["blocks"][-1]["out"], a["features"])
        self.last_norm = nn.BatchNorm2d(a["features"])
        self.head = nn.Linear(a["features"], a["mix"])
        self.classifier = nn.Linear(a["mix"], m["num_classes"])

    def forward(self, images):
        x = self.blocks(F.hardswish(self.stem_norm(self.stem(images))))
        x = F.hardswish(self.last_norm(self.last(x))).mean((2, 3))
        return self.classifier(F.hardswish(self.head(x)))
