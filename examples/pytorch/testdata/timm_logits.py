"""timm_logits.py MODEL IMAGES LOGITS: runs an exported model in timm's own ViT.

timm's has no relative positions, and the same width in all blocks.
"""

import functools
import json
import pathlib
import sys

import torch
from safetensors import safe_open
from timm.models.vision_transformer import VisionTransformer

path, images, logits = sys.argv[1:]
with safe_open(path, "pt") as file:
    a = json.loads(file.metadata()["prenas.model"])["architecture"]
    weights = {name: file.get_tensor(name) for name in file.keys()}
model = VisionTransformer(
    img_size=a["image_size"],
    patch_size=a["patch_size"],
    in_chans=a["channels"],
    num_classes=a["num_classes"],
    global_pool="avg" if a["global_pool"] else "token",
    fc_norm=False,
    embed_dim=a["embed_dim"],
    depth=a["depth"],
    num_heads=a["num_heads"][0],
    mlp_ratio=a["mlp_ratio"][0],
    qkv_bias=a["qkv_bias"],
    norm_layer=functools.partial(torch.nn.LayerNorm, eps=a["norm_eps"]),
)
model.load_state_dict(weights)
batch = torch.frombuffer(bytearray(pathlib.Path(images).read_bytes()), dtype=torch.float32)
with torch.inference_mode():
    result = model.eval()(batch.reshape(-1, a["channels"], a["image_size"], a["image_size"]))
pathlib.Path(logits).write_bytes(result.numpy().tobytes())
