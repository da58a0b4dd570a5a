"""The peer of bench/data: what torchvision's transforms do to a training image."""

import json
import sys
import time

import PIL
import torch
import torchvision
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as F

FILTERS = {"bilinear": InterpolationMode.BILINEAR, "bicubic": InterpolationMode.BICUBIC}
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def prepare(path, crop, flip, size, interpolation):
    with open(path, "rb") as file:
        image = Image.open(file).convert("RGB")
    image = F.resized_crop(image, *crop, [size, size], interpolation)
    if flip:
        image = F.hflip(image)
    return F.normalize(F.to_tensor(image), MEAN, STD)


def main():
    torch.set_num_threads(1)
    versions = f"torchvision {torchvision.__version__}, torch {torch.__version__}, pillow {PIL.__version__}"
    print(json.dumps(versions), flush=True)
    for line in sys.stdin:
        work = json.loads(line)
        seconds, total = 0.0, 0.0
        for path, crop, flip in zip(work["files"], work["crops"], work["flips"]):
            began = time.perf_counter()
            tensor = prepare(path, crop, flip, work["size"], FILTERS[work["filter"]])
            seconds += time.perf_counter() - began
            total += tensor.double().sum().item()
        print(json.dumps({"seconds": seconds, "sum": total}), flush=True)


main()
