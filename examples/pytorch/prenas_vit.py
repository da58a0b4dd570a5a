"""An exported prenas vision transformer in plain PyTorch; prenas_conv.py has convolutional networks.

    python prenas_vit.py model.safetensors picture.png ...

prints what `prenas predict` prints. In a program of your own:

    from prenas_vit import load
    model, info = load("model.safetensors")
    logits = model(images)          # [N, C, H, W], normalised with info["preprocess"]

Needs torch and safetensors, and for pictures pillow.
"""

import json
import sys

import torch
from safetensors import safe_open
from torch import nn
from torch.nn import functional as F


class RelativePositions(nn.Module):
    """Embeddings R[query, key] of 2-D distances; row 0 of each table is the class token's."""

    def __init__(self, side, limit, head_dim):
        super().__init__()
        self.embeddings_table_v = nn.Parameter(torch.zeros(2 * limit + 2, head_dim))
        self.embeddings_table_h = nn.Parameter(torch.zeros(2 * limit + 2, head_dim))
        place = torch.arange(side * side)
        for name, at in ("rows", place // side), ("columns", place % side):
            distance = (at[None, :] - at[:, None]).clamp(-limit, limit) + limit + 1
            self.register_buffer(name, F.pad(distance, (1, 0, 1, 0)), persistent=False)

    def forward(self):
        return self.embeddings_table_v[self.rows] + self.embeddings_table_h[self.columns]


class Attention(nn.Module):
    def __init__(self, a, heads):
        super().__init__()
        self.heads, self.scale, width = heads, a["head_dim"] ** -0.5, heads * a["head_dim"]
        self.qkv = nn.Linear(a["embed_dim"], 3 * width, bias=a["qkv_bias"])
        self.proj = nn.Linear(width, a["embed_dim"])
        self.relative = a["relative_position"]
        if self.relative:
            grid = a["image_size"] // a["patch_size"], a["max_relative_position"], a["head_dim"]
            self.rel_pos_embed_k, self.rel_pos_embed_v = RelativePositions(*grid), RelativePositions(*grid)

    def forward(self, x):
        n, tokens, _ = x.shape
        q, k, v = self.qkv(x).reshape(n, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        q = q * self.scale
        scores = q @ k.transpose(-2, -1)
        if self.relative:
            scores = scores + torch.einsum("nhqd,qkd->nhqk", q, self.rel_pos_embed_k())
        attention = scores.softmax(-1)
        out = attention @ v
        if self.relative:
            out = out + torch.einsum("nhqk,qkd->nhqd", attention, self.rel_pos_embed_v())
        return self.proj(out.transpose(1, 2).reshape(n, tokens, -1))


class Block(nn.Module):
    def __init__(self, a, heads, hidden):
        super().__init__()
        dim, eps = a["embed_dim"], a["norm_eps"]
        self.norm1, self.norm2 = nn.LayerNorm(dim, eps), nn.LayerNorm(dim, eps)
        self.attn = Attention(a, heads)
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(dim, hidden), "fc2": nn.Linear(hidden, dim)})

    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        return x + self.mlp["fc2"](F.gelu(self.mlp["fc1"](self.norm2(x))))


class VisionTransformer(nn.Module):
    def __init__(self, a):
        super().__init__()
        dim, patch, tokens = a["embed_dim"], a["patch_size"], 1 + (a["image_size"] // a["patch_size"]) ** 2
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(a["channels"], dim, patch, patch)})
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, tokens, dim)) if a["abs_pos"] else None
        self.blocks = nn.Sequential(*(Block(a, h, m) for h, m in zip(a["num_heads"], a["mlp_hidden"])))
        self.norm = nn.LayerNorm(dim, a["norm_eps"])
        self.head = nn.Linear(dim, a["num_classes"])
        self.global_pool = a["global_pool"]

    def forward(self, images):
        x = self.patch_embed["proj"](images).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], 1)
        if self.pos_embed is not None:
            x = x + self.pos_embed
        x = self.norm(self.blocks(x))
        return self.head(x[:, 1:].mean(1) if self.global_pool else x[:, 0])


def read_weights(path):
    """An exported model's tensors and its description."""
    with safe_open(path, "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, json.loads(file.metadata()["prenas.model"])


def load(path):
    """Returns the model, ready for inference, and its description."""
    weights, info = read_weights(path)
    model = VisionTransformer(info["architecture"])
    model.load_state_dict(weights)
    return model.eval(), info


def read(path, info):
    """A picture as the model takes it, [1, C, H, W]."""
    from PIL import Image

    p = info["preprocess"]
    picture = Image.open(path).convert("L" if info["architecture"]["channels"] == 1 else "RGB")
    shorter = min(picture.size)
    picture = picture.resize([p["resize"] * s // shorter for s in picture.size], Image.Resampling.BICUBIC)
    left, top = (round((s - p["size"]) / 2) for s in picture.size)
    picture = picture.crop((left, top, left + p["size"], top + p["size"]))
    x = torch.tensor(list(picture.tobytes()), dtype=torch.float32).reshape(1, p["size"], p["size"], -1) / 255
    return (x.permute(0, 3, 1, 2) - torch.tensor(p["mean"])[:, None, None]) / torch.tensor(p["std"])[:, None, None]


def show(model, info, paths):
    """Prints the most probable classes of pictures."""
    for path in paths:
        with torch.inference_mode():
            probabilities = model(read(path, info))[0].softmax(0)
        best = probabilities.topk(min(3, len(probabilities)))
        names = [info["classes"][i] if i < len(info["classes"]) else f"class {i}" for i in best.indices.tolist()]
        print(path, *(f"{name} {100 * p:.1f} %" for name, p in zip(names, best.values.tolist())), sep="  ")


if __name__ == "__main__":
    show(*load(sys.argv[1]), sys.argv[2:])
