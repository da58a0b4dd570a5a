"""An exported prenas convolutional network in plain PyTorch.

    python prenas_conv.py model.safetensors picture.png ...

prints what `prenas predict` prints. In a program of your own:

    from prenas_conv import load
    model, info = load("model.safetensors")
    logits = model(images)          # [N, C, H, W], normalised with info["preprocess"]

Names are those of timm's MobileNetV3. Reading of files and pictures is prenas_vit.py's, which lies beside this file.
"""

import sys

from torch import nn
from torch.nn import functional as F

from prenas_vit import read_weights, show


class SqueezeExcite(nn.Module):
    def __init__(self, features, squeeze):
        super().__init__()
        self.conv_reduce, self.conv_expand = nn.Conv2d(features, squeeze, 1), nn.Conv2d(squeeze, features, 1)

    def forward(self, x):
        y = F.relu(self.conv_reduce(x.mean((2, 3), keepdim=True)))
        return x * F.hardsigmoid(self.conv_expand(y))


def depthwise(features, kernel, stride):
    return nn.Conv2d(features, features, kernel, stride, kernel // 2, groups=features, bias=False)


class FirstBlock(nn.Module):
    """The block after the stem, which has no expansion."""

    def __init__(self, width, eps):
        super().__init__()
        self.conv_dw, self.bn1 = depthwise(width, 3, 1), nn.BatchNorm2d(width, eps)
        self.conv_pw, self.bn2 = nn.Conv2d(width, width, 1, bias=False), nn.BatchNorm2d(width, eps)

    def forward(self, x):
        return x + self.bn2(self.conv_pw(F.relu(self.bn1(self.conv_dw(x)))))


class Block(nn.Module):
    def __init__(self, width_in, unit, block, stride, eps):
        super().__init__()
        hidden, out = block["hidden"], unit["width"]
        self.act = F.hardswish if unit["h_swish"] else F.relu
        self.conv_pw, self.bn1 = nn.Conv2d(width_in, hidden, 1, bias=False), nn.BatchNorm2d(hidden, eps)
        self.conv_dw, self.bn2 = depthwise(hidden, block["kernel"], stride), nn.BatchNorm2d(hidden, eps)
        self.se = SqueezeExcite(hidden, block["squeeze"]) if block["squeeze"] else nn.Identity()
        self.conv_pwl, self.bn3 = nn.Conv2d(hidden, out, 1, bias=False), nn.BatchNorm2d(out, eps)
        self.residual = stride == 1 and width_in == out

    def forward(self, x):
        y = self.act(self.bn1(self.conv_pw(x)))
        y = self.se(self.act(self.bn2(self.conv_dw(y))))
        y = self.bn3(self.conv_pwl(y))
        return x + y if self.residual else y


class LastConvolution(nn.Module):
    def __init__(self, width, features, eps):
        super().__init__()
        self.conv, self.bn1 = nn.Conv2d(width, features, 1, bias=False), nn.BatchNorm2d(features, eps)

    def forward(self, x):
        return F.hardswish(self.bn1(self.conv(x)))


class MobileNet(nn.Module):
    def __init__(self, a):
        super().__init__()
        width, eps = a["stem"], a["norm_eps"]
        self.conv_stem = nn.Conv2d(a["channels"], width, 3, a["stem_stride"], 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width, eps)
        stages = [[FirstBlock(width, eps)]]
        for unit in a["units"]:
            stages.append([])
            for i, block in enumerate(unit["blocks"]):
                stages[-1].append(Block(width, unit, block, 1 if i else unit["stride"], eps))
                width = unit["width"]
        stages.append([LastConvolution(width, a["features"], eps)])
        self.blocks = nn.Sequential(*(nn.Sequential(*stage) for stage in stages))
        self.conv_head = nn.Conv2d(a["features"], a["mix"], 1, bias=a["mix_bias"])
        self.classifier = nn.Linear(a["mix"], a["num_classes"])

    def forward(self, images):
        x = self.blocks(F.hardswish(self.bn1(self.conv_stem(images))))
        x = F.hardswish(self.conv_head(x.mean((2, 3), keepdim=True)))
        return self.classifier(x.flatten(1))


def load(path):
    """Returns the model, ready for inference, and its description."""
    weights, info = read_weights(path)
    model = MobileNet(info["architecture"])
    model.load_state_dict(weights)
    return model.eval(), info


if __name__ == "__main__":
    show(*load(sys.argv[1]), sys.argv[2:])
