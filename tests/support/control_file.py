#!/usr/bin/env python3
"""A ControlNet's folder in diffusers' layout as the single files that people have.

    control_file.py FOLDER OUT [--layout diffusers|original|bare] [--dtype F16|F32|BF16] [--add KEY]

original: as the ControlNet's authors wrote them (control_model.input_blocks…), bare: the same without that prefix. F32
widens f16 exactly, BF16 cuts f32 off. --add puts a scalar in. Beside OUT lies what the shapes
do not say (NAME.heptad.json). Names are made here the other way round than nn/weights/ldm_keys.c reads them."""
import argparse
import json
import pathlib
import re
import struct

LEAVES = {"norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1", "norm2": "out_layers.0",
          "conv2": "out_layers.3", "conv_shortcut": "skip_connection"}
STEMS = {"conv_in": "input_blocks.0.0", "time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2",
         "add_embedding.linear_1": "label_emb.0.0", "add_embedding.linear_2": "label_emb.0.2",
         "controlnet_mid_block": "middle_block_out.0", "controlnet_cond_embedding.conv_in": "input_hint_block.0",
         "controlnet_cond_embedding.conv_out": "input_hint_block.14"}


def original(name, layers):
    stem, leaf = name.rsplit(".", 1)
    if stem in STEMS:
        return f"{STEMS[stem]}.{leaf}"
    if match := re.fullmatch(r"controlnet_cond_embedding\.blocks\.(\d+)", stem):
        return f"input_hint_block.{2 * int(match[1]) + 2}.{leaf}"
    if match := re.fullmatch(r"controlnet_down_blocks\.(\d+)", stem):
        return f"zero_convs.{match[1]}.0.{leaf}"
    if match := re.match(r"mid_block\.(resnets|attentions)\.(\d)\.(.*)", name):
        block, rest = f"middle_block.{2 * int(match[2]) if match[1] == 'resnets' else 1}", match[3]
    else:
        match = re.match(r"down_blocks\.(\d+)\.(resnets|attentions|downsamplers)\.(\d)\.(.*)", name)
        level, kind, layer, rest = int(match[1]), match[2], int(match[3]), match[4]
        number = (layers + 1) * level + 1 + (layers if kind == "downsamplers" else layer)
        block = f"input_blocks.{number}.{1 if kind == 'attentions' else 0}"
        rest = rest.replace("conv.", "op.") if kind == "downsamplers" else rest
    for new, old in LEAVES.items():
        if "resnets" in name and rest.startswith(new + "."):
            rest = old + rest[len(new):]
    return f"{block}.{rest}"


def converted(data, dtype, to):
    if dtype == to or dtype != "F16":
        return dtype, data
    values = struct.pack(f"<{len(data) // 2}f", *struct.unpack(f"<{len(data) // 2}e", data))
    return (to, values) if to == "F32" else (to, b"".join(values[i + 2:i + 4] for i in range(0, len(values), 4)))


parser = argparse.ArgumentParser()
parser.add_argument("folder", type=pathlib.Path)
parser.add_argument("out", type=pathlib.Path)
parser.add_argument("--layout", default="diffusers")
parser.add_argument("--dtype", default="F16")
parser.add_argument("--add", action="append", default=[])
args = parser.parse_args()
config = json.loads((args.folder / "config.json").read_text())
file = (args.folder / "diffusion_pytorch_model.safetensors").read_bytes()
length = struct.unpack("<Q", file[:8])[0]
header, body, at = {}, [], 0
tensors = [(name, row["dtype"], row["shape"], file[8 + length + row["data_offsets"][0]:8 + length + row["data_offsets"][1]])
           for name, row in json.loads(file[8:8 + length]).items() if name != "__metadata__"]
for name, dtype, shape, data in tensors + [(name, None, [1], b"\0\0") for name in args.add]:
    if dtype and args.layout != "diffusers":
        name = ("control_model." if args.layout == "original" else "") + original(name, config["layers_per_block"])
    dtype, data = converted(data, dtype, args.dtype) if dtype else ("F16", data)
    header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(data)]}
    body.append(data)
    at += len(data)
text = json.dumps(header).encode()
args.out.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(body))
known = ("norm_num_groups", "attention_head_dim", "addition_time_embed_dim")
beside = {"controlnet": {key: config[key] for key in known if config.get(key) is not None}}
args.out.with_suffix("").with_suffix(".heptad.json").write_text(json.dumps(beside))
