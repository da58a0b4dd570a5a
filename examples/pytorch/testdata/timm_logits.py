"""timm_logits.py MODEL IMAGES LOGITS: runs an exported model in timm's own class.

timm's vision transformer has no relative positions, and the same width in all blocks; its
MobileNetV3 has a stem of stride 2.
"""

import functools
import json
import pathlib
import sys

import timm
import timm_mobilenet
import torch
from safetensors import safe_open
from timm.models.vision_transformer import VisionTransformer

path, images, logits = sys.argv[1:]
with safe_open(path, "pt") as file:
    info = json.loads(file.metadata()["prenas.model"])
    weights = {name: file.get_tensor(name) for name in file.keys()}
a = info["architecture"]
if info["arch"] == "i224-d2_3_4_2_3-k3x2_5x3_3x6_5x3-x4_3x4_6_2.5_2.3x2_6x5":
    model = timm.create_model("mobilenetv3_large_100")
elif info["kind"] == "conv":
    model = timm_mobilenet.build(a)
else:
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
model.load_state_dict(weights, strict=True)
batch = torch.frombuffer(bytearray(pathlib.Path(images).read_bytes()), dtype=torch.float32)
with torch.inference_mode():
    result = model.eval()(batch.reshape(-1, a["channels"], a["image_size"], a["image_size"]))
pathlib.Path(logits).write_bytes(result.numpy().tobytes())
