"""The largest vision transformer of a space as PyTorch runs it fastest: one module of fixed
sizes, without a supernet around it, and PyTorch's fused attention.

Relative positions come into fused attention as further features. Of a query the product
with the embedding of each key row, of each key column and of the class token; of a key
where it is, as ones and zeros. Those of values are read off the same way. So no tensor
[tokens, tokens, head_dim] and no matrix of scores is in memory.

config is that of vit.py; "super" is not used.
"""

import torch
import torch.nn.functional as F
from torch import nn


def folding(side, limit):
    """What is constant of positions on a square: [tokens, extra] where a key is, and
    [tokens, extra, 2 * rows] which rows of the two tables make each feature of a query."""
    rows, extra, tokens = 2 * limit + 2, 2 * side + 1, side * side + 1
    axis = torch.arange(side)
    row, column = axis.repeat_interleave(side), axis.repeat(side)
    where = torch.cat([F.one_hot(row, side), F.one_hot(column, side), torch.zeros(side * side, 1)], 1)
    where = torch.cat([F.one_hot(torch.tensor([extra - 1]), extra), where]).float()

    def index(of):
        return (axis[None, :] - of[:, None]).clamp(-limit, limit) + limit + 1

    vertical, horizontal = torch.zeros(tokens, extra, rows), torch.zeros(tokens, extra, rows)
    vertical[1:, :side], horizontal[1:, side:-1] = F.one_hot(index(row), rows).float(), F.one_hot(index(column), rows).float()
    vertical[0, :side, 0] = horizontal[0, side:-1, 0] = 1
    vertical[:, -1, 0] = horizontal[:, -1, 0] = 1
    return where, torch.cat([vertical, horizontal], 2)


class Block(nn.Module):
    def __init__(self, size, heads, hidden, m):
        super().__init__()
        self.heads, self.head_dim = heads, m["head_dim"]
        width = heads * self.head_dim
        self.norm1, self.norm2 = nn.LayerNorm(size, eps=1e-5), nn.LayerNorm(size, eps=1e-5)
        self.qkv, self.proj = nn.Linear(size, 3 * width), nn.Linear(width, size)
        self.fc1, self.fc2 = nn.Linear(size, hidden), nn.Linear(hidden, size)
        rows = 2 * (2 * m["max_relative_position"] + 2)
        self.keys = nn.Parameter(torch.empty(rows, self.head_dim).normal_(std=0.02))
        self.values = nn.Parameter(torch.empty(rows, self.head_dim).normal_(std=0.02))

    def attention(self, x, where, pick):
        b, n, _ = x.shape
        d, extra = self.head_dim, where.shape[1]
        q, k, v = self.qkv(x).view(b, n, 3, self.heads, d).permute(2, 0, 3, 1, 4)
        fill = -(d + extra) % 8
        ofquery = torch.einsum("bhnd,ned->bhne", q, (pick @ self.keys).to(q.dtype))
        q = torch.cat([q, F.pad(ofquery, (0, fill))], -1)
        place = F.pad(where, (0, fill)).to(q.dtype).expand(b, self.heads, -1, -1)
        k, v = torch.cat([k, place], -1), torch.cat([v, place], -1)
        out = F.scaled_dot_product_attention(q, k, v, scale=d**-0.5)
        term = torch.einsum("bhne,ned->bhnd", out[..., d : d + extra], (pick @ self.values).to(out.dtype))
        return self.proj((out[..., :d] + term).transpose(1, 2).reshape(b, n, -1))

    def forward(self, x, where, pick):
        x = x + self.attention(self.norm1(x), where, pick)
        return x + self.fc2(F.gelu(self.fc1(self.norm2(x))))


class Supernet(nn.Module):
    def __init__(self, config):
        super().__init__()
        m, a = config["model"], config["arch"]
        size, side = a["embed_dim"], m["image_size"] // m["patch_size"]
        self.stem = nn.Conv2d(m["channels"], size, m["patch_size"], m["patch_size"])
        self.cls_token = nn.Parameter(torch.empty(1, 1, size).normal_(std=0.02))
        self.pos_embed = nn.Parameter(torch.empty(1, 1 + side * side, size).normal_(std=0.02))
        self.blocks = nn.ModuleList(Block(size, h, hidden, m) for h, hidden in zip(a["num_heads"], a["hidden"]))
        self.norm, self.head = nn.LayerNorm(size, eps=1e-5), nn.Linear(size, m["num_classes"])
        where, pick = folding(side, m["max_relative_position"])
        self.register_buffer("where", where)
        self.register_buffer("pick", pick)

    def forward(self, images):
        x = self.stem(images).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1).to(x.dtype), x], 1) + self.pos_embed
        for block in self.blocks:
            x = block(x, self.where, self.pick)
        return self.head(self.norm(x)[:, 1:].mean(1))
