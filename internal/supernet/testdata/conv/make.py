"""Makes conv.safetensors: a convolutional supernet's weights, a batch, and what
PyTorch makes of one architecture sliced out of it; and steps.safetensors: SGD steps
from these weights that train two architectures in turn, each with running statistics
of its own. Needs torch and safetensors.

    python make.py conv.safetensors steps.safetensors
"""
import sys

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

torch.manual_seed(7)
torch.set_default_dtype(torch.float64)
CLASSES, STEM, FEATURES, MIX = 5, 8, 24, 16
# (width, stride, squeeze-excite, h-swish) of each unit; supernet: depth 2, kernel 5, expand 3
UNITS = [(8, 2, False, False), (16, 2, True, True)]
# the architecture i16-d2_1-k3_5_3-x2_3_2: (kernel, expand) of each layer of each unit
ARCH = [[(3, 2), (5, 3)], [(3, 2)]]
# and i16-d1_2-k5x2_3-x3_2x2
OTHER = [[(5, 3)], [(5, 2), (3, 2)]]


def divisible(v):
    n = max(8, int(v + 4) // 8 * 8)
    return n + 8 if n < 0.9 * v else n


weights = {}


def add(name, *shape, scale=0.3, shift=0.0):
    weights[name] = shift + scale * torch.randn(*shape)


def add_norm(name, size):
    add(name + ".weight", size, scale=0.1, shift=1.0)
    add(name + ".bias", size, scale=0.1)


add("conv_stem.weight", STEM, 2, 3, 3)
add_norm("bn1", STEM)
add("blocks.0.0.conv_dw.weight", STEM, 1, 3, 3)
add_norm("blocks.0.0.bn1", STEM)
add("blocks.0.0.conv_pw.weight", STEM, STEM, 1, 1)
add_norm("blocks.0.0.bn2", STEM)
before = STEM
for u, (width, _, squeeze, _) in enumerate(UNITS):
    for l in range(2):
        n, hidden = f"blocks.{u + 1}.{l}.", divisible(before * 3)
        add(n + "conv_pw.weight", hidden, before, 1, 1)
        add_norm(n + "bn1", hidden)
        add(n + "conv_dw.weight", hidden, 1, 5, 5)
        add_norm(n + "bn2", hidden)
        if squeeze:
            mid = divisible(hidden / 4)
            add(n + "se.conv_reduce.weight", mid, hidden, 1, 1)
            add(n + "se.conv_reduce.bias", mid)
            add(n + "se.conv_expand.weight", hidden, mid, 1, 1)
            add(n + "se.conv_expand.bias", hidden)
        add(n + "conv_pwl.weight", width, hidden, 1, 1)
        add_norm(n + "bn3", width)
        before = width
add("blocks.3.0.conv.weight", FEATURES, before, 1, 1)
add_norm("blocks.3.0.bn1", FEATURES)
add("conv_head.weight", MIX, FEATURES, 1, 1)
add("conv_head.bias", MIX)
add("classifier.weight", CLASSES, MIX)
add("classifier.bias", CLASSES)
weights = {name: w.float().double().requires_grad_() for name, w in weights.items()}
stats, seen = {}, {}


def norm(x, name, size, train):
    """train is False, True, or a dict of the running statistics that the batch moves."""
    w, b = weights[name + ".weight"][:size], weights[name + ".bias"][:size]
    if isinstance(train, dict):
        mean = train.setdefault(name + ".running_mean", torch.zeros(size))
        var = train.setdefault(name + ".running_var", torch.ones(size))
        return F.batch_norm(x, mean, var, w, b, True)
    if train:
        seen[name + ".running_mean"] = x.mean((0, 2, 3)).detach()
        seen[name + ".running_var"] = x.var((0, 2, 3), unbiased=True).detach()
        return F.batch_norm(x, None, None, w, b, True)
    if name + ".running_mean" not in stats:
        stats[name + ".running_mean"] = (0.1 * torch.randn(size)).float().double()
        stats[name + ".running_var"] = (0.5 + torch.rand(size)).float().double()
    return F.batch_norm(x, stats[name + ".running_mean"], stats[name + ".running_var"], w, b, False)


def forward(x, train, arch=ARCH):
    w = weights
    x = F.hardswish(norm(F.conv2d(x, w["conv_stem.weight"], stride=2, padding=1), "bn1", STEM, train))
    n = "blocks.0.0."
    y = F.relu(norm(F.conv2d(x, w[n + "conv_dw.weight"], padding=1, groups=STEM), n + "bn1", STEM, train))
    x = x + norm(F.conv2d(y, w[n + "conv_pw.weight"]), n + "bn2", STEM, train)
    before = STEM
    for u, layers in enumerate(arch):
        width, stride, squeeze, hswish = UNITS[u]
        act = F.hardswish if hswish else F.relu
        for l, (k, e) in enumerate(layers):
            n, hidden = f"blocks.{u + 1}.{l}.", divisible(before * e)
            s, margin = (stride if l == 0 else 1), (5 - k) // 2
            y = act(norm(F.conv2d(x, w[n + "conv_pw.weight"][:hidden]), n + "bn1", hidden, train))
            kernel = w[n + "conv_dw.weight"][:hidden, :, margin:margin + k, margin:margin + k]
            y = act(norm(F.conv2d(y, kernel, stride=s, padding=k // 2, groups=hidden), n + "bn2", hidden, train))
            if squeeze:
                mid = divisible(hidden / 4)
                z = F.relu(F.conv2d(y.mean((2, 3), keepdim=True), w[n + "se.conv_reduce.weight"][:mid, :hidden], w[n + "se.conv_reduce.bias"][:mid]))
                y = y * F.hardsigmoid(F.conv2d(z, w[n + "se.conv_expand.weight"][:hidden, :mid], w[n + "se.conv_expand.bias"][:hidden]))
            y = norm(F.conv2d(y, w[n + "conv_pwl.weight"][:, :hidden]), n + "bn3", width, train)
            x = x + y if s == 1 and before == width else y
            before = width
    x = F.hardswish(norm(F.conv2d(x, w["blocks.3.0.conv.weight"]), "blocks.3.0.bn1", FEATURES, train))
    x = F.hardswish(F.conv2d(x.mean((2, 3), keepdim=True), w["conv_head.weight"], w["conv_head.bias"])).flatten(1)
    return F.linear(x, w["classifier.weight"], w["classifier.bias"])


images = torch.randn(4, 2, 16, 16).float().double()
evaluated = forward(images, False)
trained = forward(images, True)
pull = torch.randn_like(trained).float().double()
(trained * pull).sum().backward()
out = {"input": images, "pull": pull, "logits.train": trained, "logits.eval": evaluated}
for name, w in weights.items():
    out["weight." + name] = w
    out["grad." + name] = torch.zeros_like(w) if w.grad is None else w.grad
for name, s in stats.items():
    out["stats." + name], out["seen." + name] = s, seen[name]
for size in (5, 11):
    out[f"resized.{size}"] = F.interpolate(images, size=(size, size), mode="bilinear", antialias=True, align_corners=False)
save_file({name: t.detach().float().contiguous() for name, t in out.items()}, sys.argv[1])

out = {}
running = {"i16-d2_1-k3_5_3-x2_3_2": (ARCH, {}), "i16-d1_2-k5x2_3-x3_2x2": (OTHER, {})}
matrices = [w for w in weights.values() if w.dim() > 1]
optimizer = torch.optim.SGD([
    {"params": matrices, "weight_decay": 0.05}, {"params": [w for w in weights.values() if w.dim() == 1], "weight_decay": 0},
], lr=0.05, momentum=0.9)
losses = []
for step in range(4):
    arch, own = list(running.values())[step % 2]
    images = torch.randn(4, 2, 16, 16).float().double()
    targets = torch.softmax(torch.randn(4, CLASSES), 1).float().double()
    optimizer.zero_grad(set_to_none=True)
    loss = F.cross_entropy(forward(images, own, arch), targets)
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
    out[f"input.{step}"], out[f"target.{step}"] = images, targets
out["losses"] = torch.tensor(losses)
for name, w in weights.items():
    out["after." + name] = w
for arch, (_, own) in running.items():
    for name, v in own.items():
        out[f"stats.{arch}.{name}"] = v
save_file({name: t.detach().float().contiguous() for name, t in out.items()}, sys.argv[2])
