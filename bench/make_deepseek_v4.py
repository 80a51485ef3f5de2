#!/usr/bin/env python3
"""Writes a DeepSeek-V4-shaped checkpoint of random weights: config.json and model.safetensors, bf16 but for what released ones
keep in f32, without a tokenizer (commands take --ids). For timing the fusions of hyper-connections and of bounded experts.

    python3 bench/make_deepseek_v4.py OUT                   six layers (a window, three sparse, two long), about 112 M parameters
    python3 bench/make_deepseek_v4.py OUT --layers 12 --width 2048
    python3 bench/make_deepseek_v4.py OUT --narrow          as deep as V4, a sixteenth of its width, 64 experts
"""
import argparse
import array
import json
import os
import random
import struct
import sys

from make_deepseek import bf16


def f32(rng, count, std):
    block = array.array("f", (rng.gauss(0, std) for _ in range(min(count, 1 << 14))))
    if sys.byteorder == "big":
        block.byteswap()
    raw = block.tobytes()
    return (raw * (4 * count // len(raw) + 1))[:4 * count]


def compressor(name, width, d, ratio, halves):
    """Values, gates, places and norm of entries that are `width` wide."""
    yield name + ".wkv.weight", [halves * width, d], "BF16"
    yield name + ".wgate.weight", [halves * width, d], "BF16"
    yield name + ".ape", [ratio, halves * width], "F32"
    yield name + ".norm.weight", [width], "BF16"


def attention(c, n):
    d, h, w, r = c["hidden_size"], c["num_attention_heads"], c["head_dim"], c["q_lora_rank"]
    groups, rank, ratio = c["o_groups"], c["o_lora_rank"], c["compress_ratios"][n]
    for name, shape in (("attn_norm", [d]), ("ffn_norm", [d]), ("attn.wq_a", [r, d]), ("attn.q_norm", [r]),
                        ("attn.wq_b", [h * w, r]), ("attn.wkv", [w, d]), ("attn.kv_norm", [w]),
                        ("attn.wo_a", [groups * rank, h * w // groups]), ("attn.wo_b", [d, groups * rank])):
        yield name + ".weight", shape, "BF16"
    yield "attn.attn_sink", [h], "F32"
    if ratio:
        yield from compressor("attn.compressor", w, d, ratio, 2 if ratio == 4 else 1)
    if ratio == 4:
        yield "attn.indexer.wq_b.weight", [c["index_n_heads"] * c["index_head_dim"], r], "BF16"
        yield "attn.indexer.weights_proj.weight", [c["index_n_heads"], d], "BF16"
        yield from compressor("attn.indexer.compressor", c["index_head_dim"], d, 4, 2)


def layer(c, n):
    """Names, shapes and types of one layer, without its prefix."""
    d, s, f, e = c["hidden_size"], c["hc_mult"], c["moe_intermediate_size"], c["n_routed_experts"]
    yield from attention(c, n)
    for half in ("attn", "ffn"):
        yield f"hc_{half}_fn", [(2 + s) * s, s * d], "F32"
        yield f"hc_{half}_base", [(2 + s) * s], "F32"
        yield f"hc_{half}_scale", [3], "F32"
    yield "ffn.gate.weight", [e, d], "BF16"
    if n < c["num_hash_layers"]:
        yield "ffn.gate.tid2eid", [c["vocab_size"], c["num_experts_per_tok"]], "I64"
    else:
        yield "ffn.gate.bias", [e], "F32"
    for mlp in [f"ffn.experts.{x}" for x in range(e)] + ["ffn.shared_experts"]:
        yield mlp + ".w1.weight", [f, d], "BF16"
        yield mlp + ".w2.weight", [d, f], "BF16"
        yield mlp + ".w3.weight", [f, d], "BF16"


def tensors(c):
    d, s = c["hidden_size"], c["hc_mult"]
    yield "embed.weight", [c["vocab_size"], d], "BF16"
    yield "head.weight", [c["vocab_size"], d], "BF16"
    yield "norm.weight", [d], "BF16"
    yield "hc_head_fn", [s, s * d], "F32"
    yield "hc_head_base", [s], "F32"
    yield "hc_head_scale", [1], "F32"
    for n in range(c["num_hidden_layers"]):
        for name, shape, kind in layer(c, n):
            yield f"layers.{n}.{name}", shape, kind


def content(rng, c, shape, kind):
    count = shape[0] * (shape[1] if len(shape) > 1 else 1)
    if kind == "I64":
        ids = [sorted(rng.sample(range(c["n_routed_experts"]), shape[1])) for _ in range(shape[0])]
        return struct.pack(f"<{count}q", *(x for row in ids for x in row))
    if kind == "F32":
        return f32(rng, count, shape[1] ** -0.5 if len(shape) > 1 else 0.5)
    return bf16(rng, count, shape[1] ** -0.5) if len(shape) > 1 else b"\x80\x3f" * count


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("out")
    for name, value in (("layers", 6), ("width", 1024), ("heads", 16), ("head", 128), ("rope", 32), ("q-rank", 512),
                        ("o-groups", 4), ("o-rank", 256), ("index-heads", 16), ("index-width", 64), ("index-top", 64),
                        ("window", 128), ("experts", 8), ("used", 2), ("expert-ffn", 512), ("hash", 2), ("streams", 4),
                        ("vocab", 8192), ("seed", 1)):
        p.add_argument("--" + name, type=int, default=value)
    p.add_argument("--narrow", action="store_true")
    if "--narrow" in sys.argv:
        p.set_defaults(layers=43, width=256, heads=8, head=64, rope=16, q_rank=128, o_rank=64, index_heads=8, index_width=32,
                       experts=64, used=6, expert_ffn=128, hash=3)
    a = p.parse_args()
    c = {"architectures": ["DeepseekV4ForCausalLM"], "model_type": "deepseek_v4", "hidden_act": "silu", "num_hidden_layers": a.layers,
         "hidden_size": a.width, "num_attention_heads": a.heads, "num_key_value_heads": 1, "head_dim": a.head,
         "qk_rope_head_dim": a.rope, "q_lora_rank": a.q_rank, "o_groups": a.o_groups, "o_lora_rank": a.o_rank,
         "index_n_heads": a.index_heads, "index_head_dim": a.index_width, "index_topk": a.index_top, "sliding_window": a.window,
         "n_routed_experts": a.experts, "num_experts_per_tok": a.used, "n_shared_experts": 1, "moe_intermediate_size": a.expert_ffn,
         "num_hash_layers": a.hash, "hc_mult": a.streams, "hc_sinkhorn_iters": 20, "hc_eps": 1e-6, "swiglu_limit": 10.0,
         "scoring_func": "sqrtsoftplus", "routed_scaling_factor": 1.5, "norm_topk_prob": True, "vocab_size": a.vocab,
         "compress_ratios": [0 if n == 0 else 4 if n % 2 else 128 for n in range(a.layers)], "rope_theta": 10000.0,
         "compress_rope_theta": 160000.0, "max_position_embeddings": 32768, "rms_norm_eps": 1e-6, "tie_word_embeddings": False,
         "rope_scaling": {"type": "yarn", "factor": 16.0, "original_max_position_embeddings": 2048, "beta_fast": 32.0, "beta_slow": 1.0},
         "torch_dtype": "bfloat16", "bos_token_id": 0, "eos_token_id": 1}
    os.makedirs(a.out, exist_ok=True)
    with open(os.path.join(a.out, "config.json"), "w", encoding="utf-8") as f:
        json.dump(c, f, indent=1)
    header, at, total, rng = {}, 0, 0, random.Random(a.seed)
    for name, shape, kind in tensors(c):
        count = shape[0] * (shape[1] if len(shape) > 1 else 1)
        size = count * {"BF16": 2, "F32": 4, "I64": 8}[kind]
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [at, at + size]}
        at += size
        total += count if kind != "I64" else 0
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(os.path.join(a.out, "model.safetensors"), "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for name, shape, kind in tensors(c):
            f.write(content(rng, c, shape, kind))
    print(f"{total / 1e6:.1f} M parameters in {a.out}")


main()
