"""An exported prenas convolutional network in plain PyTorch.

    python prenas_conv.py model.safetensors picture.png ...

prints what `prenas predict` prints. In a program of your own:

    from prenas_conv import load
    model, info = load("model.safetensors")
    logits = model(images)          # [N, C, H, W], normalised with info["preprocess"]

Names are those of timm's MobileNetV3 or EfficientNet. Reading of files and pictures is prenas_vit.py's, which lies beside this file.
"""

import sys

from torch import nn
from torch.nn import functional as F

from prenas_vit import read_weights, show


ACTIVATIONS = {"relu": F.relu, "relu6": F.relu6, "silu": F.silu, "hard_swish": F.hardswish}


class SqueezeExcite(nn.Module):
    def __init__(self, features, squeeze, kind, act):
        super().__init__()
        self.conv_reduce, self.conv_expand = nn.Conv2d(features, squeeze, 1), nn.Conv2d(squeeze, features, 1)
        self.act = act if kind else F.relu
        self.gate = F.sigmoid if kind == "efficientnet" else F.hardsigmoid

    def forward(self, x):
        y = self.act(self.conv_reduce(x.mean((2, 3), keepdim=True)))
        return x * self.gate(self.conv_expand(y))


class Conv(nn.Conv2d):
    """A convolution without bias, padded by half its kernel, or as TensorFlow does: of the zeros that a stride needs, the odd one is behind the image."""

    def __init__(self, width_in, width, kernel, stride, padding, groups=1):
        super().__init__(width_in, width, kernel, stride, 0 if padding == "same" else kernel // 2, groups=groups, bias=False)
        self.same = padding == "same"

    def forward(self, x):
        if self.same:
            needed = [max((-(-side // self.stride[0]) - 1) * self.stride[0] + self.kernel_size[0] - side, 0) for side in x.shape[2:]]
            x = F.pad(x, (needed[1] // 2, needed[1] - needed[1] // 2, needed[0] // 2, needed[0] - needed[0] // 2))
        return super().forward(x)


class FirstBlock(nn.Module):
    """The block after the stem, which has no expansion."""

    def __init__(self, a, eps):
        super().__init__()
        first, kind = a.get("first", {}), a.get("squeeze", "")
        width, out, stride = a["stem"], first.get("width", a["stem"]), first.get("stride", 1)
        self.act = ACTIVATIONS[a.get("activation", "relu")]
        self.conv_dw, self.bn1 = Conv(width, width, 3, stride, a.get("padding"), width), nn.BatchNorm2d(width, eps)
        squeeze = max(1, width // 4) if kind else divisible(width / 4)
        self.se = SqueezeExcite(width, squeeze, kind, self.act) if first.get("squeeze_excite") else nn.Identity()
        self.conv_pw, self.bn2 = nn.Conv2d(width, out, 1, bias=False), nn.BatchNorm2d(out, eps)
        self.residual = stride == 1 and width == out and not first.get("no_skip")
        self.out = out

    def forward(self, x):
        y = self.bn2(self.conv_pw(self.se(self.act(self.bn1(self.conv_dw(x))))))
        return x + y if self.residual else y


def divisible(v):
    """The nearest multiple of 8, but not below nine tenths of v."""
    n = max(8, int(v + 4) // 8 * 8)
    return n + 8 if n < 0.9 * v else n


class Block(nn.Module):
    def __init__(self, a, width_in, unit, block, stride, eps):
        super().__init__()
        hidden, out = block["hidden"], unit["width"]
        self.act = F.hardswish if unit["h_swish"] else ACTIVATIONS[a.get("activation", "relu")]
        self.conv_pw, self.bn1 = nn.Conv2d(width_in, hidden, 1, bias=False), nn.BatchNorm2d(hidden, eps)
        self.conv_dw, self.bn2 = Conv(hidden, hidden, block["kernel"], stride, a.get("padding"), hidden), nn.BatchNorm2d(hidden, eps)
        self.se = SqueezeExcite(hidden, block["squeeze"], a.get("squeeze", ""), self.act) if block["squeeze"] else nn.Identity()
        self.conv_pwl, self.bn3 = nn.Conv2d(hidden, out, 1, bias=False), nn.BatchNorm2d(out, eps)
        self.residual = stride == 1 and width_in == out

    def forward(self, x):
        y = self.act(self.bn1(self.conv_pw(x)))
        y = self.se(self.act(self.bn2(self.conv_dw(y))))
        y = self.bn3(self.conv_pwl(y))
        return x + y if self.residual else y


class LastConvolution(nn.Module):
    def __init__(self, width, features, eps, act):
        super().__init__()
        self.conv, self.bn1, self.act = nn.Conv2d(width, features, 1, bias=False), nn.BatchNorm2d(features, eps), act

    def forward(self, x):
        return self.act(self.bn1(self.conv(x)))


class MobileNet(nn.Module):
    def __init__(self, a):
        super().__init__()
        eps, features = a["norm_eps"], a["features"]
        self.act = ACTIVATIONS[a.get("activation", "hard_swish")]
        self.conv_stem = Conv(a["channels"], a["stem"], 3, a["stem_stride"], a.get("padding"))
        self.bn1 = nn.BatchNorm2d(a["stem"], eps)
        stages = [[FirstBlock(a, eps)]]
        width = stages[0][0].out
        for unit in a["units"]:
            stages.append([])
            for i, block in enumerate(unit["blocks"]):
                stages[-1].append(Block(a, width, unit, block, 1 if i else unit["stride"], eps))
                width = unit["width"]
        self.mixes = a["mix"] > 0
        if self.mixes:  # as MobileNetV3, else as EfficientNet
            stages.append([LastConvolution(width, features, eps, self.act)])
            self.conv_head = nn.Conv2d(features, a["mix"], 1, bias=a["mix_bias"])
        else:
            self.conv_head, self.bn2 = nn.Conv2d(width, features, 1, bias=False), nn.BatchNorm2d(features, eps)
        self.blocks = nn.Sequential(*(nn.Sequential(*stage) for stage in stages))
        self.classifier = nn.Linear(a["mix"] or features, a["num_classes"])

    def forward(self, images):
        x = self.blocks(self.act(self.bn1(self.conv_stem(images))))
        if self.mixes:
            x = self.act(self.conv_head(x.mean((2, 3), keepdim=True)))
        else:
            x = self.act(self.bn2(self.conv_head(x))).mean((2, 3))
        return self.classifier(x.flatten(1))


def load(path):
    """Returns the model, ready for inference, and its description."""
    weights, info = read_weights(path)
    model = MobileNet(info["architecture"])
    model.load_state_dict(weights)
    return model.eval(), info


if __name__ == "__main__":
    show(*load(sys.argv[1]), sys.argv[2:])
