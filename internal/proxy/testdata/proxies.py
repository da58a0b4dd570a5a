"""The proxies of internal/proxy, from their formulas, in NumPy and float64.

Gradients are autograd's, of any order. Input: JSON with the path of the weights,
the architecture, the model, images, noise and signs. Output: JSON, the value of each proxy.
"""
import json
import struct
import sys

import autograd.numpy as np
from autograd import grad
from autograd.scipy.special import erf
from autograd.numpy.linalg import svd


def load(path):
    data = open(path, "rb").read()
    n = struct.unpack("<Q", data[:8])[0]
    tensors = {}
    for name, t in json.loads(data[8 : 8 + n]).items():
        if name != "__metadata__":
            a, b = t["data_offsets"]
            tensors[name] = np.frombuffer(data[8 + n + a : 8 + n + b], dtype="<f4").reshape(t["shape"]).astype(np.float64)
    return tensors


job = json.load(sys.stdin)
arch, model, chunk = job["arch"], job["model"], job["chunk"]
dim, heads, ratios = arch["embed_dim"], arch["num_heads"], arch["mlp_ratio"]
depth, head_dim, patch, side = len(heads), model["head_dim"], model["patch_size"], model["image_size"] // model["patch_size"]
shape = [-1, model["channels"], model["image_size"], model["image_size"]]
images, noise = np.array(job["images"]).reshape(shape), np.array(job["noise"]).reshape(shape)
samples, tokens = len(images), side * side + 1
signs = np.array(job["signs"]).reshape(samples, tokens, dim)


def sliced(w):
    """The architecture's weights: the first rows and columns of the supernet's."""
    own = {
        "patch_embed_super.proj.weight": w["patch_embed_super.proj.weight"][:dim],
        "patch_embed_super.proj.bias": w["patch_embed_super.proj.bias"][:dim],
        "cls_token": w["cls_token"][..., :dim], "pos_embed": w["pos_embed"][..., :dim],
        "norm.weight": w["norm.weight"][:dim], "norm.bias": w["norm.bias"][:dim],
        "head.weight": w["head.weight"][:, :dim], "head.bias": w["head.bias"],
    }
    for i in range(depth):
        width, hidden = heads[i] * head_dim, int(dim * ratios[i])
        for name, rows, columns in [
            ("attn.qkv.weight", 3 * width, dim), ("attn.qkv.bias", 3 * width, None), ("attn.proj.weight", dim, width), ("attn.proj.bias", dim, None),
            ("fc1.weight", hidden, dim), ("fc1.bias", hidden, None), ("fc2.weight", dim, hidden), ("fc2.bias", dim, None),
            ("attn_layer_norm.weight", dim, None), ("attn_layer_norm.bias", dim, None), ("ffn_layer_norm.weight", dim, None), ("ffn_layer_norm.bias", dim, None),
        ]:
            name = "blocks.%d.%s" % (i, name)
            own[name] = w[name][:rows] if columns is None else w[name][:rows, :columns]
        for kind in ["rel_pos_embed_k", "rel_pos_embed_v"]:
            for table in ["embeddings_table_v", "embeddings_table_h"]:
                name = "blocks.%d.attn.%s.%s" % (i, kind, table)
                own[name] = w[name]
    return own


def index(coordinate):
    """Rows of a table of relative positions, one-hot, for each pair of tokens."""
    far = model["max_relative_position"]
    between = np.clip(coordinate[None, :] - coordinate[:, None], -far, far) + far + 1
    return np.eye(2 * far + 2)[np.pad(between, ((1, 0), (1, 0)))]


at = np.arange(side * side)
vertical, horizontal = index(at // side), index(at % side)


def norm(x, w, name):
    centred = x - np.mean(x, -1, keepdims=True)
    return centred / np.sqrt(np.mean(centred**2, -1, keepdims=True) + 1e-5) * w[name + ".weight"] + w[name + ".bias"]


def attend(out, w, i):
    b, h, n = "blocks.%d.attn." % i, heads[i], out.shape[0]
    q, k, v = [np.transpose(np.reshape(out[..., part::3], (n, tokens, h, head_dim)), (0, 2, 1, 3)) for part in range(3)]
    q = q * head_dim**-0.5
    place = lambda kind: np.dot(vertical, w[b + kind + ".embeddings_table_v"]) + np.dot(horizontal, w[b + kind + ".embeddings_table_h"])
    scores = np.matmul(q, np.swapaxes(k, 2, 3)) + np.matmul(q[..., None, :], np.swapaxes(place("rel_pos_embed_k"), 1, 2))[..., 0, :]
    scores = np.exp(scores - np.max(scores, -1, keepdims=True))
    a = scores / np.sum(scores, -1, keepdims=True)
    y = np.matmul(a, v) + np.matmul(a[..., None, :], place("rel_pos_embed_v"))[..., 0, :]
    return np.dot(np.reshape(np.transpose(y, (0, 2, 1, 3)), (n, tokens, h * head_dim)), w[b + "proj.weight"].T) + w[b + "proj.bias"]


class Taps:
    """Activations by site, and what is added to them: a gradient with respect to it is that of the activation."""

    def __init__(self, added=None):
        self.sites, self.added, self.linear = {}, added, []

    def __call__(self, site, x):
        self.sites.setdefault(site, []).append(x)
        return x

    def matrix(self, site, x):
        x = x if self.added is None else x + self.added[len(self.linear)]
        self.linear.append(x)
        return self(site, x)


def block(x, w, i, taps):
    b = "blocks.%d." % i
    taps("norm", x)
    out = taps.matrix("qkv", np.dot(norm(x, w, b + "attn_layer_norm"), w[b + "attn.qkv.weight"].T) + w[b + "attn.qkv.bias"])
    x = x + taps.matrix("attention", attend(out, w, i))
    taps("norm", x)
    y = taps.matrix("hidden", np.dot(norm(x, w, b + "ffn_layer_norm"), w[b + "fc1.weight"].T) + w[b + "fc1.bias"])
    y = y * 0.5 * (1 + erf(y / np.sqrt(2)))
    x = x + taps.matrix("mlp", np.dot(y, w[b + "fc2.weight"].T) + w[b + "fc2.bias"])
    return taps("block", x)


def logits(w, x, taps):
    n = len(x)
    x = np.reshape(x, (n, model["channels"], side, patch, side, patch)).transpose(0, 2, 4, 1, 3, 5).reshape(n, side * side, -1)
    x = np.dot(x, np.reshape(w["patch_embed_super.proj.weight"], (dim, -1)).T) + w["patch_embed_super.proj.bias"]
    x = np.concatenate([np.tile(w["cls_token"], (n, 1, 1)), x], 1) + w["pos_embed"]
    taps("block", x)
    for i in range(depth):
        x = block(x, w, i, taps)
    x = np.mean(norm(x, w, "norm")[:, 1:], 1)
    return np.dot(x, w["head.weight"].T) + w["head.bias"]


def loss(w, x):
    return np.sum(logits(w, x, Taps()))


def entropy(p):
    p = p[p > 0] / np.sum(p[p > 0])
    return -np.sum(p * np.log(p))


weights = sliced(load(job["weights"]))
names = sorted(weights)
matrices = [n for n in names if n.endswith(".weight") and weights[n].ndim > 1]
g = grad(loss)(weights, images)
out = {}
out["grad_norm"] = sum(np.sqrt(np.sum(g[n] ** 2)) for n in names)
out["snip"] = sum(np.sum(np.abs(g[n] * weights[n])) for n in names)
out["plain"] = sum(np.sum(g[n] * weights[n]) for n in names)
hessian = grad(lambda w: sum(np.sum(grad(loss)(w, images)[n] * g[n]) for n in names))(weights)
out["grasp"] = -sum(np.sum(weights[n] * hessian[n]) for n in names)

batches = [grad(loss)(weights, images[i : i + chunk]) for i in range(0, samples, chunk)]
out["zico"] = 0.0
for n in matrices:
    a = np.abs(np.stack([b[n] for b in batches]))
    mean, deviation = np.mean(a, 0), np.std(a, 0)
    seen = deviation > 1e-6 * mean
    if np.any(seen):
        out["zico"] += np.log(np.sum(mean[seen] / deviation[seen]))

taps = Taps()
logits(weights, images, taps)
by = grad(lambda added: np.sum(logits(weights, images, Taps(added))))([np.zeros_like(x) for x in taps.linear])
out["fisher"] = sum(np.sum(np.sum(a * d, 1) ** 2) for a, d in zip(taps.linear, by)) / 2 / samples

absolute = {n: np.abs(w) for n, w in weights.items()}
linear = grad(loss)(absolute, np.ones_like(images[:1]))
nuclear = lambda m: np.sum(svd(m, compute_uv=False))
out["dss"] = 0.0
for i in range(depth):
    for n in ["attn.qkv.weight", "attn.proj.weight"]:
        n = "blocks.%d.%s" % (i, n)
        out["dss"] += nuclear(linear[n]) * nuclear(absolute[n])
    for n in ["fc1.weight", "fc2.weight"]:
        n = "blocks.%d.%s" % (i, n)
        out["dss"] += np.sum(np.abs(linear[n] * absolute[n]))
out["synflow"] = sum(
    np.sum(np.abs(linear[n] * absolute[n])) for n in names if "rel_pos" not in n and n not in ("cls_token", "pos_embed"))

codes = np.concatenate([(x > 0).reshape(samples, -1) for x in taps.sites["hidden"]], 1)
agree = np.array([[np.sum(a == b) for b in codes] for a in codes], dtype=float)
out["naswot"] = np.linalg.slogdet(agree)[1]

perturbed = Taps()
logits(weights, images + 0.01 * noise, perturbed)
change = (taps.sites["block"][-1] - perturbed.sites["block"][-1]).reshape(samples, -1)
out["zen"] = np.log(np.mean(np.sqrt(np.sum(change**2, 1)))) + sum(np.log(np.sqrt(np.mean(np.var(x, -1)))) for x in taps.sites["norm"])

out["token_entropy"] = 0.0
for site in ["qkv", "attention", "mlp"]:
    for x in taps.sites[site]:
        u = x / np.linalg.norm(x, axis=-1, keepdims=True)
        for image in u:
            values = np.linalg.eigvalsh(image @ image.T / tokens)
            out["token_entropy"] -= np.log(np.sum(values**2)) / samples

entropies = []
for x in taps.sites["block"]:
    entropies.append(entropy(np.linalg.eigvalsh(np.cov(x.reshape(-1, dim).T, bias=True))))
out["az_expressivity"] = sum(entropies)
out["az_progressivity"] = min(b - a for a, b in zip(entropies, entropies[1:]))
trainability = []
for i in range(depth):
    back = grad(lambda x: np.sum(block(x, weights, i, Taps()) * signs))(taps.sites["block"][i])
    sigma = svd(back.reshape(-1, dim).T @ signs.reshape(-1, dim) / (samples * tokens), compute_uv=False)[0]
    trainability.append(-sigma - 1 / (sigma + 1e-6) + 2)
out["az_trainability"] = np.mean(trainability)
json.dump(out, sys.stdout)
