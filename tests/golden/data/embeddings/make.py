#!/usr/bin/env python3
"""Makes the files of this folder: textual inversions for tiny-sd15 and tiny-sdxl, and what diffusers' text encoders give of
prompts that hold them. Needs torch, diffusers, transformers, safetensors. usage: make.py, anywhere.

The vectors are random, of the size of the models' own. In the goldens a prompt is given to diffusers with the file's name as
its token; the text encoders run in f64, the results are rounded to f32.
"""
import json
import os

import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
from safetensors.torch import load_file, save_file

HERE = os.path.dirname(os.path.abspath(__file__))
MODELS = os.path.join(HERE, "..", "models")
PROMPTS = ["a cat, ink-wash", "oil", "red apple ink-wash, a dog oil style", "a green apple"]
XL_PROMPTS = ["a cat, xl-look", "a green apple"]


def vectors(count, width, seed):
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed)) * 0.02


def make_files(width, widths_xl):
    save_file({"emb_params": vectors(3, width, 1)}, os.path.join(HERE, "ink-wash.safetensors"))            # A1111, kohya
    save_file({"<oil>": vectors(1, width, 2)[0].half()}, os.path.join(HERE, "oil.safetensors"))            # diffusers
    save_file({"clip_l": vectors(2, widths_xl[0], 3), "clip_g": vectors(2, widths_xl[1], 4)}, os.path.join(HERE, "xl-look.safetensors"))


def ids_of(pipe, tokenizer, prompt):
    return tokenizer(pipe.maybe_convert_prompt(prompt, tokenizer), padding="max_length", max_length=77, truncation=True,
                     return_tensors="pt").input_ids


def save(name, prompts, tensors):
    save_file({k: v.detach().float().contiguous() for k, v in tensors.items()}, os.path.join(HERE, name),
              metadata={"prompts": json.dumps(prompts)})


def main():
    pipe = StableDiffusionPipeline.from_pretrained(os.path.join(MODELS, "tiny-sd15"), safety_checker=None, torch_dtype=torch.float64)
    xl = StableDiffusionXLPipeline.from_pretrained(os.path.join(MODELS, "tiny-sdxl"), torch_dtype=torch.float64)
    make_files(pipe.text_encoder.config.hidden_size, [xl.text_encoder.config.hidden_size, xl.text_encoder_2.config.hidden_size])
    for word in ["ink-wash", "oil"]:
        pipe.load_textual_inversion(os.path.join(HERE, word + ".safetensors"), token=word)
    save("tiny-sd15.golden.safetensors", PROMPTS,
         {str(i): pipe.text_encoder(ids_of(pipe, pipe.tokenizer, p))[0][0] for i, p in enumerate(PROMPTS)})
    look = load_file(os.path.join(HERE, "xl-look.safetensors"))
    xl.load_textual_inversion(look["clip_l"], token="xl-look", text_encoder=xl.text_encoder, tokenizer=xl.tokenizer)
    xl.load_textual_inversion(look["clip_g"], token="xl-look", text_encoder=xl.text_encoder_2, tokenizer=xl.tokenizer_2)
    # The vectors' ids are larger than the end token's, which 2 would have pooled for.
    for part in [xl.text_encoder_2.config, xl.text_encoder_2]:
        part.eos_token_id = xl.tokenizer_2.eos_token_id
    for part in xl.text_encoder_2.modules():
        if hasattr(part, "eos_token_id"):
            part.eos_token_id = xl.tokenizer_2.eos_token_id
    results = {}
    for i, prompt in enumerate(XL_PROMPTS):
        states, _, pooled, _ = xl.encode_prompt(prompt, device="cpu", do_classifier_free_guidance=False)
        results[str(i)], results[f"{i}.pooled"] = states[0], pooled[0]
    save("tiny-sdxl.golden.safetensors", XL_PROMPTS, results)


if __name__ == "__main__":
    main()
