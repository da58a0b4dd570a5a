"""logits.py MODEL IMAGES LOGITS: runs an exported model in PyTorch on float32 images."""

import importlib
import json
import pathlib
import sys

import torch
from safetensors import safe_open

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))

path, images, logits = sys.argv[1:]
with safe_open(path, "pt") as file:
    kind = json.loads(file.metadata()["prenas.model"])["kind"]
model, info = importlib.import_module("prenas_" + kind).load(path)
a = info["architecture"]
batch = torch.frombuffer(bytearray(pathlib.Path(images).read_bytes()), dtype=torch.float32)
with torch.inference_mode():
    result = model(batch.reshape(-1, a["channels"], a["image_size"], a["image_size"]))
pathlib.Path(logits).write_bytes(result.numpy().tobytes())
