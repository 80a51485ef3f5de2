#!/usr/bin/env python3
"""Writes a Qwen3.5-shaped checkpoint of random bf16 weights: three gated delta nets, then an attention, again and again.

   bench/make_hybrid.py FOLDER [--layers 8] [--width 1024] [--ffn 2816] [--heads 8] [--groups 2] [--head 128]
                        [--key-heads 8] [--value-heads 16] [--delta 128] [--vocab 32000] [--seed 1] [--sparse]

The defaults are 0.2 B parameters. --sparse leaves a hole in the place of the weights, for `explain`. It has no tokenizer: give it ids. Speed depends on shapes and formats only, so random weights
time like trained ones. Standard library only; streams to disk; the same arguments give the same bytes."""
import argparse
import json
import os
import random
import struct

CHUNK = 1 << 22  # elements held at once
HIGH = bytes(0x3C if b < 128 else 0xBC for b in range(256))  # sign and exponent: 0.008 to 0.03 in size


def tensors(a):
    """(name, extents) of every tensor."""
    keys, values = a.key_heads * a.delta, a.value_heads * a.delta
    yield "model.embed_tokens.weight", (a.vocab, a.width)
    yield "lm_head.weight", (a.vocab, a.width)
    yield "model.norm.weight", (a.width,)
    for n in range(a.layers):
        at = f"model.layers.{n}."
        if n % 4 == 3:
            yield at + "self_attn.q_proj.weight", (2 * a.heads * a.head, a.width)
            yield at + "self_attn.k_proj.weight", (a.groups * a.head, a.width)
            yield at + "self_attn.v_proj.weight", (a.groups * a.head, a.width)
            yield at + "self_attn.o_proj.weight", (a.width, a.heads * a.head)
            yield at + "self_attn.q_norm.weight", (a.head,)
            yield at + "self_attn.k_norm.weight", (a.head,)
        else:
            yield at + "linear_attn.in_proj_qkv.weight", (2 * keys + values, a.width)
            yield at + "linear_attn.in_proj_z.weight", (values, a.width)
            yield at + "linear_attn.in_proj_b.weight", (a.value_heads, a.width)
            yield at + "linear_attn.in_proj_a.weight", (a.value_heads, a.width)
            yield at + "linear_attn.conv1d.weight", (2 * keys + values, 1, 4)
            yield at + "linear_attn.A_log", (a.value_heads,)
            yield at + "linear_attn.dt_bias", (a.value_heads,)
            yield at + "linear_attn.norm.weight", (a.delta,)
            yield at + "linear_attn.out_proj.weight", (a.width, values)
        yield at + "mlp.gate_proj.weight", (a.ffn, a.width)
        yield at + "mlp.up_proj.weight", (a.ffn, a.width)
        yield at + "mlp.down_proj.weight", (a.width, a.ffn)
        yield at + "input_layernorm.weight", (a.width,)
        yield at + "post_attention_layernorm.weight", (a.width,)


def config(a):
    return {"architectures": ["Qwen3_5ForCausalLM"], "model_type": "qwen3_5_text", "vocab_size": a.vocab, "hidden_size": a.width,
            "intermediate_size": a.ffn, "num_hidden_layers": a.layers, "num_attention_heads": a.heads,
            "num_key_value_heads": a.groups, "head_dim": a.head, "max_position_embeddings": 4096, "rms_norm_eps": 1e-6,
            "hidden_act": "silu", "layer_types": ["full_attention" if n % 4 == 3 else "linear_attention" for n in range(a.layers)],
            "linear_conv_kernel_dim": 4, "linear_key_head_dim": a.delta, "linear_value_head_dim": a.delta,
            "linear_num_key_heads": a.key_heads, "linear_num_value_heads": a.value_heads, "tie_word_embeddings": False,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e7, "partial_rotary_factor": 0.25}, "torch_dtype": "bfloat16"}


def count(extents):
    n = 1
    for extent in extents:
        n *= extent
    return n


def write(a):
    os.makedirs(a.folder, exist_ok=True)
    with open(os.path.join(a.folder, "config.json"), "w", encoding="utf-8") as f:
        json.dump(config(a), f, indent=1)
    head, at = {}, 0
    for name, extents in tensors(a):
        head[name] = {"dtype": "BF16", "shape": list(extents), "data_offsets": [at, at + 2 * count(extents)]}
        at += 2 * count(extents)
    text = json.dumps(head).encode()
    text += b" " * (-len(text) % 8)
    dice = random.Random(a.seed)
    with open(os.path.join(a.folder, "model.safetensors"), "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        left = 0 if a.sparse else at // 2
        while left:
            n = min(left, CHUNK)
            part = bytearray(2 * n)
            part[0::2] = dice.randbytes(n)
            part[1::2] = dice.randbytes(n).translate(HIGH)
            f.write(part)
            left -= n
        f.truncate(8 + len(text) + at)


if __name__ == "__main__":
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("folder")
    for name, value in {"layers": 8, "width": 1024, "ffn": 2816, "heads": 8, "groups": 2, "head": 128, "key-heads": 8,
                        "value-heads": 16, "delta": 128, "vocab": 32000, "seed": 1}.items():
        p.add_argument("--" + name, type=int, default=value)
    p.add_argument("--sparse", action="store_true")
    write(p.parse_args())
