"""The supernet of vision transformers in PyTorch, written the way the original writes it:
one module a block, weights of the supernet's size sliced in every forward pass, relative
positions gathered into [tokens, tokens, head_dim] tensors.

config has
    arch    {"embed_dim", "num_heads": [...], "hidden": [...]}
    model   {"image_size", "patch_size", "channels", "num_classes", "head_dim", "max_relative_position"}
    super   {"embed_dim", "num_heads", "hidden"}   sizes of the supernet
"""

import torch
import torch.nn.functional as F
from torch import nn


class Linear(nn.Module):
    """A linear layer of which the first rows and columns are used."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs).normal_(std=0.02))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x, outputs):
        return F.linear(x, self.weight[:outputs, : x.shape[-1]], self.bias[:outputs])


class QKV(Linear):
    """As Linear, with rows in the order q, k, v, q, k, v, …"""

    def forward(self, x, outputs):
        weight = torch.cat([self.weight[i:outputs:3, : x.shape[-1]] for i in range(3)])
        return F.linear(x, weight, self.bias[:outputs])


class Norm(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(size)), nn.Parameter(torch.zeros(size))

    def forward(self, x):
        n = x.shape[-1]
        return F.layer_norm(x, (n,), self.weight[:n], self.bias[:n], 1e-5)


class Relative(nn.Module):
    """2-D relative positions: the embedding [tokens, tokens, head_dim] of every pair."""

    def __init__(self, head_dim, limit):
        super().__init__()
        self.limit = limit
        self.vertical = nn.Parameter(torch.empty(2 * limit + 2, head_dim).normal_(std=0.02))
        self.horizontal = nn.Parameter(torch.empty(2 * limit + 2, head_dim).normal_(std=0.02))

    def forward(self, tokens):
        side = int((tokens - 1) ** 0.5)
        place = torch.arange(tokens - 1, device=self.vertical.device)
        rows, columns = place // side, place % side

        def index(of):
            distance = (of[None, :] - of[:, None]).clamp(-self.limit, self.limit) + self.limit + 1
            return F.pad(distance, (1, 0, 1, 0), value=0)

        return self.vertical[index(rows)] + self.horizontal[index(columns)]


class Block(nn.Module):
    def __init__(self, size, heads, hidden, m):
        super().__init__()
        self.head_dim = m["head_dim"]
        self.norm1, self.norm2 = Norm(size), Norm(size)
        self.qkv, self.proj = QKV(size, 3 * heads * self.head_dim), Linear(heads * self.head_dim, size)
        self.fc1, self.fc2 = Linear(size, hidden), Linear(hidden, size)
        self.keys = Relative(self.head_dim, m["max_relative_position"])
        self.values = Relative(self.head_dim, m["max_relative_position"])

    def attention(self, x, heads):
        b, n, c = x.shape
        qkv = self.qkv(x, 3 * heads * self.head_dim).reshape(b, n, 3, heads, -1).permute(2, 0, 3, 1, 4)
        q, k, v = qkv[0], qkv[1], qkv[2]
        scale = self.head_dim**-0.5
        scores = (q @ k.transpose(-2, -1)) * scale
        by_query = q.permute(2, 0, 1, 3).reshape(n, heads * b, -1)
        scores = scores + (by_query @ self.keys(n).transpose(2, 1)).transpose(1, 0).reshape(b, heads, n, n) * scale
        attention = scores.softmax(dim=-1)
        out = (attention @ v).transpose(1, 2).reshape(b, n, -1)
        by_query = attention.permute(2, 0, 1, 3).reshape(n, b * heads, -1)
        term = (by_query @ self.values(n)).transpose(1, 0).reshape(b, heads, n, -1)
        out = out + term.transpose(2, 1).reshape(b, n, -1)
        return self.proj(out, c)

    def forward(self, x, heads, hidden):
        x = x + self.attention(self.norm1(x), heads)
        return x + self.fc2(F.gelu(self.fc1(self.norm2(x), hidden)), x.shape[-1])


class Supernet(nn.Module):
    def __init__(self, config):
        super().__init__()
        m, s = config["model"], config["super"]
        self.arch, self.patch = config["arch"], m["patch_size"]
        tokens = 1 + (m["image_size"] // m["patch_size"]) ** 2
        self.stem = nn.Conv2d(m["channels"], s["embed_dim"], self.patch, self.patch)
        self.cls_token = nn.Parameter(torch.empty(1, 1, s["embed_dim"]).normal_(std=0.02))
        self.pos_embed = nn.Parameter(torch.empty(1, tokens, s["embed_dim"]).normal_(std=0.02))
        depth = len(self.arch["num_heads"])
        self.blocks = nn.ModuleList(Block(s["embed_dim"], s["num_heads"], s["hidden"], m) for _ in range(depth))
        self.norm = Norm(s["embed_dim"])
        self.head = Linear(s["embed_dim"], m["num_classes"])

    def forward(self, images):
        dim = self.arch["embed_dim"]
        x = F.conv2d(images, self.stem.weight[:dim], self.stem.bias[:dim], stride=self.patch)
        x = x.flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token[..., :dim].expand(len(x), -1, -1), x], 1) + self.pos_embed[..., :dim]
        for block, heads, hidden in zip(self.blocks, self.arch["num_heads"], self.arch["hidden"]):
            x = block(x, heads, hidden)
        return self.head(self.norm(x)[:, 1:].mean(1), self.head.weight.shape[0])
