"""A vision transformer shrunk by Torch-Pruning to one budget, for go run ./examples/shrink.

    python peer.py MODEL IMAGES MACS SEEN LR BATCH SEED RESULT

MODEL is a safetensors file of prenas, with a head for the classes of IMAGES, a folder with train and test. Hidden
units of each MLP and heads of each block are pruned by Taylor importance, the same part of each block, until the model
has at most MACS millions of multiply-accumulates; then it is fine-tuned by AdamW on SEEN training images, counted each
time that they are seen, cropped and mirrored as the recipe of prenas shrink does. RESULT is a file in JSON.
"""
import json
import random
import sys
import time
from pathlib import Path

import torch
import torch_pruning as tp
from PIL import Image
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "pytorch"))
from prenas_vit import Attention, Block, load  # noqa: E402

CALIBRATION = 256  # images of which Taylor importance is


def images_of(folder):
    classes = sorted(d.name for d in folder.iterdir() if d.is_dir())
    return [(file, label) for label, name in enumerate(classes) for file in sorted((folder / name).iterdir())]


def tensor(picture, p):
    x = torch.frombuffer(bytearray(picture.convert("RGB").tobytes()), dtype=torch.uint8).reshape(p["size"], p["size"], 3)
    x = x.permute(2, 0, 1).float() / 255
    return (x - torch.tensor(p["mean"])[:, None, None]) / torch.tensor(p["std"])[:, None, None]


def plain(file, p):
    picture = Image.open(file).convert("RGB")
    shorter = min(picture.size)
    picture = picture.resize([p["resize"] * s // shorter for s in picture.size], Image.Resampling.BICUBIC)
    left, top = (round((s - p["size"]) / 2) for s in picture.size)
    return tensor(picture.crop((left, top, left + p["size"], top + p["size"])), p)


def augmented(file, p):
    picture = Image.open(file).convert("RGB")
    w, h = picture.size
    side = (random.uniform(0.7, 1) * w * h) ** 0.5
    ratio = random.uniform(3 / 4, 4 / 3) ** 0.5
    cw, ch = min(w, round(side * ratio)), min(h, round(side / ratio))
    left, top = random.randint(0, w - cw), random.randint(0, h - ch)
    picture = picture.resize((p["size"], p["size"]), Image.Resampling.BICUBIC, (left, top, left + cw, top + ch))
    if random.random() < 0.5:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return tensor(picture, p)


def batch_of(items, one, p):
    return torch.stack([one(file, p) for file, _ in items]), torch.tensor([label for _, label in items])


def plain_attention(self, x):
    """Attention.forward by sizes that pruning may change."""
    n, tokens, _ = x.shape
    q, k, v = self.qkv(x).reshape(n, tokens, 3, self.heads, self.qkv.out_features // (3 * self.heads)).permute(2, 0, 3, 1, 4)
    out = F.scaled_dot_product_attention(q, k, v, scale=self.scale)
    return self.proj(out.transpose(1, 2).reshape(n, tokens, -1))


def macs_of(model, example):
    """Multiply-accumulates of products, as prenas counts them, in millions."""
    total = 0

    def linear(module, inputs, output):
        nonlocal total
        total += module.weight.numel() * (output.numel() // output.shape[0] // module.weight.shape[0])

    def attention(module, inputs, output):
        nonlocal total
        tokens = inputs[0].shape[1]
        total += 2 * tokens * tokens * module.qkv.out_features // 3

    hooks = [m.register_forward_hook(linear) for m in model.modules() if isinstance(m, (torch.nn.Linear, torch.nn.Conv2d))]
    hooks += [m.register_forward_hook(attention) for m in model.modules() if isinstance(m, Attention)]
    with torch.no_grad():
        model(example)
    for hook in hooks:
        hook.remove()
    return total / 1e6


def pruned(path, part, calibration, p):
    """The model without this part of the heads and hidden units of each block."""
    model, _ = load(path)
    Attention.forward = plain_attention
    example = calibration[0][:1]
    blocks = [m for m in model.modules() if isinstance(m, Block)]
    heads = {b.attn.qkv: b.attn.heads for b in blocks}
    # The embedding stays: what writes to it and reads it all is not pruned.
    kept = [model.head, model.patch_embed["proj"], *(layer for b in blocks for layer in (b.attn.proj, b.mlp["fc2"]))]
    pruner = tp.pruner.MetaPruner(
        model, example, importance=tp.importance.GroupTaylorImportance(), pruning_ratio=part, ignored_layers=kept,
        num_heads=heads, prune_num_heads=True, prune_head_dims=False, head_pruning_ratio=part, round_to=1,
        unwrapped_parameters=[(model.cls_token, 2), (model.pos_embed, 2)])
    model.zero_grad()
    for images, labels in zip(*(x.split(64) for x in calibration)):
        F.cross_entropy(model(images), labels).backward()
    for group in pruner.step(interactive=True):
        group.prune()
    for b in blocks:
        b.attn.heads = pruner.num_heads[b.attn.qkv]
    model.zero_grad(set_to_none=True)
    return model


def accuracy(model, items, p):
    model.eval()
    right = 0
    with torch.inference_mode():
        for at in range(0, len(items), 100):
            images, labels = batch_of(items[at:at + 100], plain, p)
            right += (model(images).argmax(1) == labels).sum().item()
    return right / len(items)


def main(path, folder, budget, seen, rate, size, seed, result):
    began = time.time()
    budget, seen, rate, size, seed = float(budget), int(seen), float(rate), int(size), int(seed)
    torch.manual_seed(seed)
    random.seed(seed)
    _, info = load(path)
    if info["architecture"]["relative_position"]:
        sys.exit(f"{path} has relative positions, which plain_attention leaves out")
    p = info["preprocess"]
    train, test = images_of(Path(folder) / "train"), images_of(Path(folder) / "test")
    random.shuffle(train)
    calibration = batch_of(train[:CALIBRATION], plain, p)
    low, high, model = 0.0, 0.95, None
    for _ in range(7):  # the largest model within the budget
        part = (low + high) / 2
        candidate = pruned(path, part, calibration, p)
        if macs_of(candidate, calibration[0][:1]) <= budget:
            high, model, share = part, candidate, part
        else:
            low = part
    if model is None:
        sys.exit(f"no part of the heads and hidden units leaves {budget} million multiply-accumulates")
    row = {"macs": macs_of(model, calibration[0][:1]), "params": sum(w.numel() for w in model.parameters()), "part": share,
           "untrained": accuracy(model, test, p)}
    steps = max(1, seen // size)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps + 1, pct_start=min(0.25, 1 - 1 / (steps + 1)))
    model.train()
    queue = []
    for step in range(steps):
        while len(queue) < size:
            queue += random.sample(train, len(train))
        images, labels = batch_of(queue[:size], augmented, p)
        queue = queue[size:]
        optimizer.zero_grad()
        F.cross_entropy(model(images), labels, label_smoothing=0.1).backward()
        optimizer.step()
        schedule.step()
    row |= {"top1": accuracy(model, test, p), "lr": rate, "updates": steps, "seconds": time.time() - began}
    Path(result).write_text(json.dumps(row))


if __name__ == "__main__":
    if len(sys.argv) != 9:
        sys.exit(__doc__)
    main(*sys.argv[1:])
