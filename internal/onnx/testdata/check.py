"""Checks ONNX files with onnx, runs them with onnxruntime, and writes their logits.

    check.py MODEL IMAGES LOGITS [MODEL IMAGES LOGITS ...]

IMAGES holds float32 images one after the other, LOGITS gets float32 logits. Every model
runs on all images at once and on each alone: a batch of any size must give the same.
"""

import ast
import json
import sys

import numpy
import onnx
import onnxruntime

for model, images, logits in zip(*[iter(sys.argv[1:])] * 3):
    onnx.checker.check_model(model, full_check=True)
    file = onnx.load(model)
    attention = any(node.op_type == "Attention" for node in file.graph.node)
    assert {o.domain: o.version for o in file.opset_import} == {"": 23 if attention else 20}
    assert file.ir_version == onnx.helper.find_min_ir_version_for(list(file.opset_import)), file.ir_version
    assert file.producer_version not in ("", "(devel)"), file.producer_version
    metadata = {p.key: p.value for p in file.metadata_props}
    classes = json.loads(metadata["prenas.model"])["classes"]
    names = ast.literal_eval(metadata["names"]) if classes else {}
    assert [names[i] for i in range(len(classes))] == classes, (names, classes)
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    (given,), (result,) = session.get_inputs(), session.get_outputs()
    assert (given.name, result.name) == ("images", "logits"), (given.name, result.name)
    assert isinstance(given.shape[0], str) and isinstance(result.shape[0], str), (given.shape, result.shape)
    batch = numpy.fromfile(images, dtype="<f4").reshape(-1, *given.shape[1:])
    together = session.run(None, {"images": batch})[0]
    alone = numpy.concatenate([session.run(None, {"images": batch[i : i + 1]})[0] for i in range(min(len(batch), 3))])
    difference = abs(together[: len(alone)] - alone).max()
    assert difference < 1e-4 * max(1, abs(together).max()), f"{model}: one image alone and in a batch differ by {difference}"
    together.astype("<f4").tofile(logits)
