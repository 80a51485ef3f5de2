#!/usr/bin/env python3
"""Writes a DeepSeek-shaped checkpoint of random weights: config.json and model.safetensors in bf16, without a tokenizer
(commands take --ids). For timing the fusions around latent attention, where the numbers do not matter.

    python3 bench/make_deepseek.py OUT                      V2-Lite's heads and latents, about 100 M parameters
    python3 bench/make_deepseek.py OUT --q-rank 512         with a latent of q, as V2 and V3 have
    python3 bench/make_deepseek.py OUT --experts 16 --used 4 --shared 1
    python3 bench/make_deepseek.py OUT --narrow             V2-Lite's layers and experts, an eighth of its widths, 237 M
    python3 bench/make_deepseek.py OUT --sparse             a hole in the place of the weights, for `explain`
"""
import argparse
import json
import os
import random
import struct
import sys

import array


BLOCK = 1 << 16
blocks = {}  # std -> bytes


def bf16(rng, count, std):
    """count numbers near 0 as bytes; a block of them is repeated from anywhere in it, as drawing millions takes minutes."""
    if std not in blocks:
        block = array.array("H", (struct.unpack("<I", struct.pack("<f", rng.gauss(0, std)))[0] >> 16 for _ in range(BLOCK)))
        if sys.byteorder == "big":
            block.byteswap()
        blocks[std] = block.tobytes()
    raw, at = blocks[std], 2 * rng.randrange(BLOCK)
    return (raw[at:] + raw * (count // BLOCK + 1))[:2 * count]


def layer(c, n):
    """Names and shapes of one layer, without its prefix."""
    d, h = c["hidden_size"], c["num_attention_heads"]
    qk = c["qk_nope_head_dim"] + c["qk_rope_head_dim"]
    r, v = c["kv_lora_rank"], c["v_head_dim"]
    out = [("input_layernorm", [d]), ("post_attention_layernorm", [d]),
           ("self_attn.kv_a_proj_with_mqa", [r + c["qk_rope_head_dim"], d]), ("self_attn.kv_a_layernorm", [r]),
           ("self_attn.kv_b_proj", [h * (c["qk_nope_head_dim"] + v), r]), ("self_attn.o_proj", [d, h * v])]
    if c["q_lora_rank"]:
        out += [("self_attn.q_a_proj", [c["q_lora_rank"], d]), ("self_attn.q_a_layernorm", [c["q_lora_rank"]]),
                ("self_attn.q_b_proj", [h * qk, c["q_lora_rank"]])]
    else:
        out.append(("self_attn.q_proj", [h * qk, d]))
    mlps = [("mlp.", c["intermediate_size"])]
    if c["n_routed_experts"] and n >= c["first_k_dense_replace"]:
        f = c["moe_intermediate_size"]
        mlps = [(f"mlp.experts.{e}.", f) for e in range(c["n_routed_experts"])]
        out.append(("mlp.gate", [c["n_routed_experts"], d]))
        if c["n_shared_experts"]:
            mlps.append(("mlp.shared_experts.", f * c["n_shared_experts"]))
    for name, f in mlps:
        out += [(name + "gate_proj", [f, d]), (name + "up_proj", [f, d]), (name + "down_proj", [d, f])]
    return out


def tensors(c):
    yield "model.embed_tokens.weight", [c["vocab_size"], c["hidden_size"]]
    yield "model.norm.weight", [c["hidden_size"]]
    yield "lm_head.weight", [c["vocab_size"], c["hidden_size"]]
    for n in range(c["num_hidden_layers"]):
        for name, shape in layer(c, n):
            yield f"model.layers.{n}.{name}.weight", shape


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("out")
    for name, value in (("layers", 6), ("width", 1024), ("heads", 16), ("ffn", 2816), ("vocab", 8192), ("q-rank", 0),
                        ("kv-rank", 512), ("nope", 128), ("rope", 64), ("value", 128), ("experts", 0), ("used", 0),
                        ("shared", 0), ("expert-ffn", 704), ("dense", 1), ("seed", 1)):
        p.add_argument("--" + name, type=int, default=value)
    p.add_argument("--sparse", action="store_true")
    p.add_argument("--narrow", action="store_true")
    if "--narrow" in sys.argv:
        p.set_defaults(layers=27, width=256, nope=32, rope=16, value=32, kv_rank=128, experts=64, used=6, shared=2, expert_ffn=176,
                       ffn=1368, vocab=12800)
    a = p.parse_args()
    c = {"architectures": ["DeepseekV2ForCausalLM"], "model_type": "deepseek_v2", "hidden_act": "silu",
         "num_hidden_layers": a.layers, "hidden_size": a.width, "num_attention_heads": a.heads,
         "num_key_value_heads": a.heads, "intermediate_size": a.ffn, "vocab_size": a.vocab,
         "q_lora_rank": a.q_rank or None, "kv_lora_rank": a.kv_rank, "qk_nope_head_dim": a.nope,
         "qk_rope_head_dim": a.rope, "v_head_dim": a.value, "n_routed_experts": a.experts,
         "num_experts_per_tok": a.used, "n_shared_experts": a.shared, "moe_intermediate_size": a.expert_ffn,
         "first_k_dense_replace": a.dense, "max_position_embeddings": 32768, "rms_norm_eps": 1e-6, "rope_theta": 10000.0,
         "tie_word_embeddings": False, "torch_dtype": "bfloat16", "bos_token_id": 0, "eos_token_id": 1}
    os.makedirs(a.out, exist_ok=True)
    with open(os.path.join(a.out, "config.json"), "w", encoding="utf-8") as f:
        json.dump(c, f, indent=1)
    header, at, rng = {}, 0, random.Random(a.seed)
    for name, shape in tensors(c):
        count = shape[0] * (shape[1] if len(shape) > 1 else 1)
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [at, at + 2 * count]}
        at += 2 * count
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(os.path.join(a.out, "model.safetensors"), "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for name, shape in () if a.sparse else tensors(c):
            count = shape[0] * (shape[1] if len(shape) > 1 else 1)
            f.write(bf16(rng, count, shape[1] ** -0.5) if len(shape) > 1 else b"\x80\x3f" * count)
        f.truncate(8 + len(text) + at)
    print(f"{at // 2 / 1e6:.1f} M parameters in {a.out}")


if __name__ == "__main__":
    main()
