"""timm's own MobileNetV3 with the settings of an exported model's architecture."""

import functools

from timm.models._efficientnet_blocks import SqueezeExcite
from timm.models._efficientnet_builder import decode_arch_def, round_channels
from timm.models.mobilenetv3 import MobileNetV3
from torch import nn


def build(a):
    stages = [[f"ds_r1_k3_s1_e1_c{a['stem']}_nre"]]
    for u in a["units"]:
        stages.append([
            f"ir_r1_k{b['kernel']}_s{1 if i else u['stride']}_e{b['expand']}_c{u['width']}"
            + ("_se0.25" if u["squeeze_excite"] else "") + ("" if u["h_swish"] else "_nre")
            for i, b in enumerate(u["blocks"])
        ])
    stages.append([f"cn_r1_k1_s1_c{a['features']}"])
    model = MobileNetV3(
        decode_arch_def(stages),
        num_classes=a["num_classes"],
        in_chans=a["channels"],
        stem_size=a["stem"],
        fix_stem=True,
        num_features=a["mix"],
        head_bias=a["mix_bias"],
        act_layer=nn.Hardswish,
        round_chs_fn=round_channels,
        se_layer=functools.partial(SqueezeExcite, gate_layer="hard_sigmoid", force_act_layer=nn.ReLU, rd_round_fn=round_channels),
    )
    assert a["stem_stride"] == model.conv_stem.stride[0]
    return model
