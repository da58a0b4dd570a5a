"""Proxies of internal/proxy for convolutional networks, from their formulas, in NumPy and float64.

Gradients are autograd's. Input: JSON with the path of the weights, the blocks of the architecture, images and
signs. Output: JSON, the value of each proxy. Activations are [N, height, width, features].
"""
import json
import struct
import sys

import autograd.numpy as np
from autograd import grad
from autograd.numpy.linalg import svd


def load(path):
    data = open(path, "rb").read()
    n = struct.unpack("<Q", data[:8])[0]
    return {
        name: np.frombuffer(data[8 + n + t["data_offsets"][0] : 8 + n + t["data_offsets"][1]], dtype="<f4").reshape(t["shape"]).astype(np.float64)
        for name, t in json.loads(data[8 : 8 + n]).items() if name != "__metadata__"
    }


job = json.load(sys.stdin)
blocks, stride = job["blocks"], job["stem_stride"]
images = np.array(job["images"]).reshape(job["shape"])
samples = len(images)


def swish(x):
    return x * sigmoid(x)


def sigmoid(x):
    return np.minimum(np.maximum(x + 3, 0), 6) / 6


def norm(x, w, name, taps):
    x = taps.matrix(x)
    if not taps.normalise:
        return x / np.sqrt(1 + 1e-5) * w[name + ".weight"] + w[name + ".bias"]
    centred = x - np.mean(x, (0, 1, 2), keepdims=True)
    return centred / np.sqrt(np.mean(centred**2, (0, 1, 2), keepdims=True) + 1e-5) * w[name + ".weight"] + w[name + ".bias"]


def shifted(x, kernel, stride):
    """What each place of the kernel sees, with zeros around."""
    side, margin = x.shape[1], kernel // 2
    out = (side + stride - 1) // stride
    x = np.pad(x, ((0, 0), (margin, margin), (margin, margin), (0, 0)), "constant")
    return [[x[:, i : i + stride * (out - 1) + 1 : stride, j : j + stride * (out - 1) + 1 : stride] for j in range(kernel)] for i in range(kernel)]


def depthwise(x, kernels, size, stride):
    margin = (kernels.shape[-1] - size) // 2
    seen = shifted(x, size, stride)
    return sum(seen[i][j] * kernels[:, 0, margin + i, margin + j] for i in range(size) for j in range(size))


def matrix(w, rows, columns):
    return w.reshape(w.shape[0], w.shape[1])[:rows, :columns].T


class Taps:
    """Activations, and what is added to them: a gradient with respect to it is that of the activation."""

    def __init__(self, added=None, normalise=True):
        self.added, self.linear, self.blocks, self.normalise = added, [], [], normalise

    def matrix(self, x):
        x = x if self.added is None else x + self.added[len(self.linear)]
        self.linear.append(x)
        return x


def block(x, w, b, taps):
    n, act, given = b["name"], swish if b["h_swish"] else lambda x: np.maximum(x, 0), x
    own = lambda name, size: {name + ".weight": w[name + ".weight"][:size], name + ".bias": w[name + ".bias"][:size]}
    if not b["expands"]:
        x = act(norm(depthwise(x, w[n + "conv_dw.weight"], b["kernel"], b["stride"]), w, n + "bn1", taps))
        x = norm(np.dot(x, matrix(w[n + "conv_pw.weight"], b["out"], b["hidden"])), w, n + "bn2", taps)
    else:
        h = b["hidden"]
        x = act(norm(np.dot(x, matrix(w[n + "conv_pw.weight"], h, b["in"])), own(n + "bn1", h), n + "bn1", taps))
        x = act(norm(depthwise(x, w[n + "conv_dw.weight"][:h], b["kernel"], b["stride"]), own(n + "bn2", h), n + "bn2", taps))
        if b["squeeze"]:
            s = b["squeeze"]
            y = np.mean(x, (1, 2))
            y = np.maximum(np.dot(y, matrix(w[n + "se.conv_reduce.weight"], s, h)) + w[n + "se.conv_reduce.bias"][:s], 0)
            y = sigmoid(np.dot(y, matrix(w[n + "se.conv_expand.weight"], h, s)) + w[n + "se.conv_expand.bias"][:h])
            x = x * y[:, None, None, :]
        x = norm(np.dot(x, matrix(w[n + "conv_pwl.weight"], b["out"], h)), w, n + "bn3", taps)
    return given + x if b["residual"] else x


def logits(w, x, taps):
    seen = shifted(np.transpose(x, (0, 2, 3, 1)), 3, stride)
    x = sum(np.dot(seen[i][j], w["conv_stem.weight"][:, :, i, j].T) for i in range(3) for j in range(3))
    x = swish(norm(x, w, "bn1", taps))
    taps.blocks.append(x)
    for b in blocks:
        x = block(x, w, b, taps)
        taps.blocks.append(x)
    last = job["last"]
    x = swish(norm(np.dot(x, matrix(w[last + "conv.weight"], None, None)), w, last + "bn1", taps))
    x = np.dot(np.mean(x, (1, 2)), matrix(w["conv_head.weight"], None, None)) + w["conv_head.bias"]
    return np.dot(swish(x), w["classifier.weight"].T) + w["classifier.bias"]


def linear_loss(w, x):
    return np.sum(logits(w, x, Taps(normalise=False)))


weights = load(job["weights"])
out = {}

taps = Taps()
logits(weights, images, taps)
by = grad(lambda added: np.sum(logits(weights, images, Taps(added))))([np.zeros_like(x) for x in taps.linear])
out["fisher"] = sum(np.sum(np.sum(a * d, (1, 2)) ** 2) for a, d in zip(taps.linear, by)) / 2 / samples

absolute = {n: np.abs(w) for n, w in weights.items()}
linear = grad(linear_loss)(absolute, np.ones_like(images[:1]))
nuclear = lambda m: np.sum(svd(m, compute_uv=False))
out["dss"] = 0.0
for b in blocks:
    n = b["name"]
    shapes = {"conv_pw": (b["hidden"], b["in"]), "conv_pwl": (b["out"], b["hidden"])} if b["expands"] else {"conv_pw": (b["out"], b["hidden"])}
    for name, (rows, columns) in shapes.items():
        name = n + name + ".weight"
        out["dss"] += nuclear(matrix(linear[name], rows, columns)) * nuclear(matrix(absolute[name], rows, columns))
    out["dss"] += np.sum(np.abs(linear[n + "conv_dw.weight"] * absolute[n + "conv_dw.weight"]))

out["synflow"] = sum(np.sum(np.abs(linear[n] * absolute[n])) for n in weights)

out["token_entropy"] = 0.0
for x in taps.linear:
    u = x.reshape(samples, -1, x.shape[-1])
    u = u / np.linalg.norm(u, axis=-1, keepdims=True)
    for image in u:
        values = np.linalg.eigvalsh(image @ image.T / len(image))
        out["token_entropy"] -= np.log(np.sum(values**2)) / samples


def entropy(x):
    p = np.linalg.eigvalsh(np.cov(x.reshape(-1, x.shape[-1]).T, bias=True))
    p = p[p > 0] / np.sum(p[p > 0])
    return -np.sum(p * np.log(p))


entropies = [entropy(x) for x in taps.blocks]
out["az_expressivity"] = sum(entropies)
out["az_progressivity"] = min(b - a for a, b in zip(entropies, entropies[1:]))
trainability = []
for x, y, b in zip(taps.blocks, taps.blocks[1:], blocks):
    signs = np.array(job["signs"][: y.size]).reshape(y.shape)
    g = grad(lambda x: np.sum(block(x, weights, b, Taps()) * signs))(x)
    n, to, s = len(x), y.shape[1], b["stride"]
    g = np.pad(g, ((0, 0), (0, to * s - x.shape[1]), (0, to * s - x.shape[2]), (0, 0)), "constant")
    columns = np.stack([g[:, i::s, j::s] for i in range(s) for j in range(s)], 3).reshape(n * to * to, -1)
    sigma = svd(columns.T @ signs.reshape(n * to * to, -1) / (n * to * to), compute_uv=False)[0]
    trainability.append(-sigma - 1 / (sigma + 1e-6) + 2)
out["az_trainability"] = np.mean(trainability)
json.dump(out, sys.stdout)
