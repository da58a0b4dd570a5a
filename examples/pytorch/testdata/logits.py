"""logits.py MODEL IMAGES LOGITS: runs an exported model in PyTorch on float32 images."""

import pathlib
import sys

import torch

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))
import prenas_vit

path, images, logits = sys.argv[1:]
model, info = prenas_vit.load(path)
a = info["architecture"]
batch = torch.frombuffer(bytearray(pathlib.Path(images).read_bytes()), dtype=torch.float32)
with torch.inference_mode():
    result = model(batch.reshape(-1, a["channels"], a["image_size"], a["image_size"]))
pathlib.Path(logits).write_bytes(result.numpy().tobytes())
