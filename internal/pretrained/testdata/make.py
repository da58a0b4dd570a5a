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
