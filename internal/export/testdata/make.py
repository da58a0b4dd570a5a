"""Makes what timm's MobileNetV3 says of itself. Needs timm and safetensors.

    python make.py

mobilenetv3_large_100.txt has the names and shapes of its tensors; timm.safetensors the
tensors of a small one, images, and its logits.
"""

import pathlib
import sys

import timm
import torch
from safetensors.torch import save_file

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent.parent.parent / "examples" / "pytorch" / "testdata"))
import timm_mobilenet

here = pathlib.Path(__file__).parent


def state(model):
    return {n: x for n, x in model.state_dict().items() if not n.endswith("num_batches_tracked")}


shapes = {n: "x".join(map(str, x.shape)) for n, x in state(timm.create_model("mobilenetv3_large_100")).items()}
(here / "mobilenetv3_large_100.txt").write_text("".join(f"{n} {shapes[n]}\n" for n in sorted(shapes)))

# The architecture of the test's space by the name of i20-d2_1-k3_5_3-x2_1.5_3.
unit = lambda width, stride, se, hs, *blocks: {
    "width": width, "stride": stride, "squeeze_excite": se, "h_swish": hs,
    "blocks": [{"kernel": k, "expand": e} for k, e in blocks],
}
torch.manual_seed(3)
model = timm_mobilenet.build({
    "stem": 8, "stem_stride": 2, "channels": 2, "num_classes": 5, "features": 24, "mix": 16, "mix_bias": True,
    "units": [unit(8, 2, True, False, (3, 2), (5, 1.5)), unit(16, 1, False, True, (3, 3))],
}).eval()
tensors = state(model)
for name, x in tensors.items():  # of sizes that keep features as large as they come
    if x.dim() > 1:
        x.normal_(0, (2 / x[0].numel()) ** 0.5)
    elif name.endswith("running_var") or name.endswith("weight"):
        x.normal_(1, 0.1)
    else:
        x.normal_(0, 0.3)
images = torch.randn(4, 2, 20, 20)
with torch.inference_mode():
    logits = model(images)
assert (logits[0] - logits[1]).abs().max() > 0.02, logits
tensors = {n: x.clone().contiguous() for n, x in tensors.items()} | {"images": images, "logits": logits}
save_file(tensors, here / "timm.safetensors", {"arch": "i20-d2_1-k3_5_3-x2_1.5_3"})
