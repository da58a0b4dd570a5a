"""Writes the .pth files of this folder and what is in them (expected.json).

    pip install torch==2.8.0 numpy && python make.py
"""
import argparse, json, collections
import torch

torch.manual_seed(1)
base = torch.randn(4, 6)
tensors = collections.OrderedDict(
    float64=torch.randn(2, 3, dtype=torch.float64),
    float32=torch.randn(2, 3),
    float16=torch.randn(2, 3).half(),
    bfloat16=torch.randn(2, 3).bfloat16(),
    int64=torch.arange(-3, 3), int32=torch.arange(5, dtype=torch.int32), int16=torch.arange(-2, 5, dtype=torch.int16),
    int8=torch.arange(-2, 5, dtype=torch.int8), uint8=torch.arange(250, 256, dtype=torch.uint8), bool=torch.tensor([True, False]),
    scalar=torch.tensor(3.5), empty=torch.zeros(0, 4),
    transposed=base.t(), stepped=base[1::2, ::3], row=base[2], expanded=torch.tensor([1.5, 2.5]).unsqueeze(1).expand(2, 3),
    tied=base, permuted=torch.arange(24.).reshape(2, 3, 4).permute(2, 0, 1),
    parameter=torch.nn.Parameter(torch.randn(3)),
)
layer = torch.nn.Linear(3, 2)
run = {
    "model": tensors, "optimizer": torch.optim.AdamW(layer.parameters()).state_dict(), "epoch": 7, "loss": 0.25, "lrs": [1e-3, 1e-4],
    "args": argparse.Namespace(lr=0.1, name="x", size=(1, 2)), "best": base.mean().numpy()[()], "device": torch.device("cpu"), "big": 1 << 70,
}
for name, value, options in [
    ("zip", run, {}), ("legacy", run, {"_use_new_zipfile_serialization": False}),
    ("protocol4", run, {"pickle_protocol": 4}), ("bare", layer.state_dict(), {}),
    ("module", layer, {}),
    # Arrays of NumPy, which has no bfloat16, within a list.
    ("numpy", {"ema": [{k: v.detach().numpy() if v.dtype != torch.bfloat16 else v for k, v in tensors.items()}]}, {}),
]:
    torch.save(value, name + ".pth", **options)


def describe(state):
    def raw(t):
        t = t.detach().contiguous()
        return bytes(t.reshape(-1).view(torch.uint8).tolist()).hex() if t.numel() else ""
    return {k: {"dtype": str(v.dtype).removeprefix("torch."), "shape": list(v.shape), "hex": raw(v)} for k, v in state.items()}


with open("expected.json", "w") as f:
    json.dump({"run": describe(tensors), "bare": describe(layer.state_dict())}, f, indent=1)
