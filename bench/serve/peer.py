"""The peer of `go run ./bench/serve`: ONNX models of `prenas export` on onnxruntime behind FastAPI and
uvicorn, as one writes it who has a model to serve. `python peer.py FOLDER` prints its address."""

import io
import json
import pathlib
import socket
import sys

import fastapi
import numpy as np
import onnxruntime
import PIL.Image
import uvicorn

filters = {"bicubic": PIL.Image.Resampling.BICUBIC, "bilinear": PIL.Image.Resampling.BILINEAR}
models = {}
for path in sorted(pathlib.Path(sys.argv[1]).glob("*.onnx")):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    models[path.stem] = session, json.loads(session.get_modelmeta().custom_metadata_map["prenas.model"])

app = fastapi.FastAPI()


@app.get("/models")
def listing():
    return {"models": [{"name": name} for name in models]}


@app.post("/classify")
def classify(model: str, body: bytes = fastapi.Body()):  # no coroutine: FastAPI runs it in a pool of threads
    session, info = models[model]
    a, p = info["architecture"], info["preprocess"]
    image = PIL.Image.open(io.BytesIO(body)).convert("L" if a["channels"] == 1 else "RGB")
    side, size = p["resize"], p["size"]
    w, h = image.size
    if min(w, h) != side:
        w, h = (side, side * h // w) if w <= h else (side * w // h, side)
        image = image.resize((w, h), filters[p["interpolation"]])
    left, top = round((w - size) / 2), round((h - size) / 2)
    pixels = np.asarray(image.crop((left, top, left + size, top + size)), np.float32).reshape(size, size, -1)
    pixels = (pixels / 255 - np.float32(p["mean"])) / np.float32(p["std"])
    (logits,) = session.run(["logits"], {"images": pixels.transpose(2, 0, 1)[None]})
    e = np.exp(logits[0] - logits[0].max())
    probability = e / e.sum()
    top = np.argsort(-probability, kind="stable")[:5]
    names = info["classes"]
    return {
        "model": model,
        "results": [{"classes": [{"index": int(i), "name": names[i], "probability": float(probability[i])} for i in top]}],
    }


listener = socket.socket()
listener.bind(("127.0.0.1", 0))
listener.listen(1024)
print(f"serving {sys.argv[1]} at http://127.0.0.1:{listener.getsockname()[1]}/", flush=True)
uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False)).run(sockets=[listener])
