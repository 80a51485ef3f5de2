"""Writes small random checkpoints of every family and weight format, for shapes no recorded folder has. Standard library
only; the same seed gives the same bytes."""
import array
import json
import math
import os
import random
import struct

# GGUF block formats: type id, elements and bytes of a block, offsets of its scale (and minimum), what codes reach.
BLOCKS = {
    "Q4_0": (2, 32, 18, (0,), 8), "Q4_1": (3, 32, 20, (0, 2), 16), "Q5_0": (6, 32, 22, (0,), 16),
    "Q5_1": (7, 32, 24, (0, 2), 32), "Q8_0": (8, 32, 34, (0,), 128), "Q2_K": (10, 256, 84, (80, 82), 48),
    "Q3_K": (11, 256, 110, (108,), 128), "Q4_K": (12, 256, 144, (0, 2), 900), "Q5_K": (13, 256, 176, (0, 2), 1800),
    "Q6_K": (14, 256, 210, (208,), 4000), "IQ4_NL": (20, 32, 18, (0,), 100), "IQ4_XS": (23, 256, 136, (0,), 3000), "MXFP4": (39, 32, 17, (), 6),
}
PLAIN = {"F32": 0, "F16": 1, "BF16": 30}


def plain(rng, kind, count, scale, base):
    values = [base + rng.gauss(0, scale) for _ in range(count)]
    if kind == "F16":
        return struct.pack(f"<{count}e", *values)
    raw = struct.pack(f"<{count}f", *values)
    if kind == "F32":
        return raw
    return b"".join(raw[i + 2:i + 4] for i in range(0, len(raw), 4))


def blocks(rng, kind, count, scale):
    _, elements, size, offsets, reach = BLOCKS[kind]
    out = bytearray(rng.randbytes(count // elements * size))
    for at in range(0, len(out), size):
        d = scale * 2 / reach * rng.uniform(.5, 1.5)
        if kind == "MXFP4":  # a power of two
            out[at] = 127 + round(math.log2(d))
            continue
        struct.pack_into("<e", out, at + offsets[0], d)
        if len(offsets) > 1:  # keeps the mean of a block near zero
            dmin = -d * reach / 2 if kind in ("Q4_1", "Q5_1") else d * reach / (500 if kind != "Q2_K" else 50)
            struct.pack_into("<e", out, at + offsets[1], dmin)
    return bytes(out)


def fp8(rng, shape, scale, block):
    """Random e4m3 codes without NaN, and f32 scales of blocks; ragged at the edges."""
    rows, cols = shape
    codes = bytes(b if b & 127 != 127 else b - 1 for b in rng.randbytes(rows * cols))
    down, across = -(-rows // block[0]), -(-cols // block[1])
    # random bits spread over all exponents: their root mean square is near 100
    return codes, [down, across], struct.pack(f"<{down * across}f", *(scale / 100 * rng.uniform(.5, 1.5)
                                                                   for _ in range(down * across)))


def family(c):
    return c["architectures"][0]


def latent_layer(c, n):
    """The same of one layer of DeepSeek V2 or V3: latent attention, experts behind the first layers."""
    d, heads, r = c["hidden_size"], c["num_attention_heads"], c["kv_lora_rank"]
    nope, rope, value = c["qk_nope_head_dim"], c["qk_rope_head_dim"], c["v_head_dim"]
    sparse = c.get("n_routed_experts") and n >= c["first_k_dense_replace"]
    norms = [("input_layernorm", "attn_norm", d), ("post_attention_layernorm", "ffn_norm", d),
             ("self_attn.kv_a_layernorm", "attn_kv_a_norm", r)]
    linear = [("self_attn.kv_a_proj_with_mqa", "attn_kv_a_mqa", r + rope, d), ("self_attn.o_proj", "attn_output", d, heads * value),
              ("self_attn.kv_b_proj", "attn_kv_b", heads * (nope + value), r)]
    if c.get("q_lora_rank"):
        norms.append(("self_attn.q_a_layernorm", "attn_q_a_norm", c["q_lora_rank"]))
        linear += [("self_attn.q_a_proj", "attn_q_a", c["q_lora_rank"], d),
                   ("self_attn.q_b_proj", "attn_q_b", heads * (nope + rope), c["q_lora_rank"])]
    else:
        linear.append(("self_attn.q_proj", "attn_q", heads * (nope + rope), d))
    mlps = [("mlp.", "", c["intermediate_size"])]
    if sparse:
        mlps = [(f"mlp.experts.{e}.", "", c["moe_intermediate_size"]) for e in range(c["n_routed_experts"])]
        mlps.append(("mlp.shared_experts.", "_shexp", c["moe_intermediate_size"] * c["n_shared_experts"]))
    for hf, gguf, f in mlps:
        linear += [(hf + "gate_proj", "ffn_gate" + gguf, f, d), (hf + "up_proj", "ffn_up" + gguf, f, d),
                   (hf + "down_proj", "ffn_down" + gguf, d, f)]
    at, to = f"model.layers.{n}.", f"blk.{n}."
    out = [(at + hf + ".weight", to + gguf + ".weight", [size], .1, 1.0) for hf, gguf, size in norms]
    out += [(at + hf + ".weight", to + gguf + ".weight", [rows, cols], cols ** -.5, 0) for hf, gguf, rows, cols in linear]
    if sparse:  # a router whose choice is clear
        out.append((at + "mlp.gate.weight", to + "ffn_gate_inp.weight", [c["n_routed_experts"], d], 6 * d ** -.5, 0))
        if c.get("topk_method") == "noaux_tc":
            out.append((at + "mlp.gate.e_score_correction_bias", to + "exp_probs_b.bias", [c["n_routed_experts"]], .1, 0))
    return out


def tensors(c):
    """(Hugging Face name, GGUF name, shape, spread, mean) of every tensor of a configuration."""
    width, ffn, vocab = c["hidden_size"], c["intermediate_size"], c["vocab_size"]
    heads, groups = c["num_attention_heads"], c["num_key_value_heads"]
    d = c.get("head_dim") or width // heads
    gemma, exaone = "Gemma" in family(c), "Exaone" in family(c)
    mean = 0.0 if gemma else 1.0
    out = [("model.embed_tokens.weight", "token_embd.weight", [vocab, width], width ** -.5 if gemma else 1, 0),
           ("model.norm.weight", "output_norm.weight", [width], .1, mean)]
    if not c.get("tie_word_embeddings", gemma):
        out.append(("lm_head.weight", "output.weight", [vocab, width], 2 * width ** -.5, 0))
    if "Deepseek" in family(c):
        return out + [t for n in range(c["num_hidden_layers"]) for t in latent_layer(c, n)]
    norms = [("input_layernorm", "attn_norm", width)]
    if exaone:
        norms = [("post_attention_layernorm", "post_attention_norm", width),
                 ("post_feedforward_layernorm", "post_ffw_norm", width)]
    elif gemma:
        norms += [("post_attention_layernorm", "post_attention_norm", width),
                  ("pre_feedforward_layernorm", "ffn_norm", width), ("post_feedforward_layernorm", "post_ffw_norm", width)]
    else:
        norms += [("post_attention_layernorm", "ffn_norm", width)]
    if gemma or exaone or "Qwen3" in family(c):
        norms += [("self_attn.q_norm", "attn_q_norm", d), ("self_attn.k_norm", "attn_k_norm", d)]
    qkv = "Qwen2" in family(c) or c.get("attention_bias")
    linear = [("self_attn.q_proj", "attn_q", heads * d, width, qkv), ("self_attn.k_proj", "attn_k", groups * d, width, qkv),
              ("self_attn.v_proj", "attn_v", groups * d, width, qkv),
              ("self_attn.o_proj", "attn_output", width, heads * d, c.get("attention_bias"))]
    experts = c.get("num_experts", 0)
    if not experts:
        linear += [("mlp.gate_proj", "ffn_gate", ffn, width, c.get("mlp_bias")),
                   ("mlp.up_proj", "ffn_up", ffn, width, c.get("mlp_bias")),
                   ("mlp.down_proj", "ffn_down", width, ffn, c.get("mlp_bias"))]
    for n in range(c["num_hidden_layers"]):
        for hf, gguf, size in norms:
            out.append((f"model.layers.{n}.{hf}.weight", f"blk.{n}.{gguf}.weight", [size], .1, mean))
        for hf, gguf, rows, cols, bias in linear:
            out.append((f"model.layers.{n}.{hf}.weight", f"blk.{n}.{gguf}.weight", [rows, cols], cols ** -.5, 0))
            if bias:
                out.append((f"model.layers.{n}.{hf}.bias", f"blk.{n}.{gguf}.bias", [rows], .3, 0))
        if experts:  # in GGUF only: stacks, and a router whose choice is clear
            out.append(("", f"blk.{n}.ffn_gate_inp.weight", [experts, width], 6 * width ** -.5, 0))
            for gguf, rows, cols in (("gate", ffn, width), ("up", ffn, width), ("down", width, ffn)):
                out.append(("", f"blk.{n}.ffn_{gguf}_exps.weight", [experts, rows, cols], cols ** -.5, 0))
    return out


def write_folder(path, config, kind, seed):
    """A Hugging Face folder without a tokenizer."""
    rng = random.Random(seed)
    head, data, at = {}, [], 0

    def put(name, dtype, shape, raw):
        nonlocal at
        head[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(raw)]}
        at += len(raw)
        data.append(raw)

    block = config.get("quantization_config", {}).get("weight_block_size")
    for name, _, shape, spread, mean in tensors(config):
        if block and len(shape) == 2 and ".layers." in name and not name.endswith("mlp.gate.weight"):
            codes, blocks_shape, scales = fp8(rng, shape, spread, block)
            put(name, "F8_E4M3", shape, codes)
            put(name + "_scale_inv", "F32", blocks_shape, scales)
        else:
            put(name, kind, shape, plain(rng, kind, math.prod(shape), spread, mean))
    text = json.dumps(head).encode()
    os.makedirs(path, exist_ok=True)
    with open(os.path.join(path, "model.safetensors"), "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"".join(data))
    with open(os.path.join(path, "config.json"), "w", encoding="utf-8") as f:
        json.dump(config, f)


def scale_caches(path, config, keys, values):
    """Makes keys and values of a folder of F32 larger by these powers of two, one for all or one a kv head, undoes that in queries and in the
    output, and says so in scales."""
    heads, groups, d = config["num_attention_heads"], config["num_key_value_heads"], config["head_dim"]
    name = os.path.join(path, "model.safetensors")
    with open(name, "rb") as f:
        raw = f.read()
    size = struct.unpack("<Q", raw[:8])[0]
    head, data = json.loads(raw[8:8 + size]), raw[8 + size:]
    by = {"q": [1 / x for x in keys], "k": keys, "v": values, "o": [1 / x for x in values]}
    blob, table = b"", {}
    for tensor, t in head.items():
        a = array.array("f", data[t["data_offsets"][0]:t["data_offsets"][1]])
        part = tensor[-len("q_proj.weight")] if "self_attn" in tensor else ""
        for i in range(len(a)) if part else ():
            place = i % (heads * d) if part == "o" else i // config["hidden_size"]
            head_of = place // d // (1 if part in "kv" else heads // groups)
            a[i] *= by[part][head_of % len(by[part])]
        table[tensor] = {**t, "data_offsets": [len(blob), len(blob) + 4 * len(a)]}
        blob += a.tobytes()
    for n in range(config["num_hidden_layers"]):
        for part in "kv":
            shape = [] if len(by[part]) == 1 else [groups, 1, 1]
            table[f"model.layers.{n}.self_attn.{part}_scale"] = {"dtype": "F32", "shape": shape, "data_offsets": [len(blob), len(blob) + 4 * len(by[part])]}
            blob += struct.pack(f"<{len(by[part])}f", *by[part])
    text = json.dumps(table).encode()
    with open(name, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + blob)


def gguf_string(text):
    return struct.pack("<Q", len(text.encode())) + text.encode()


def gguf_key(name, value):
    if isinstance(value, str):
        return gguf_string(name) + struct.pack("<I", 8) + gguf_string(value)
    return gguf_string(name) + struct.pack("<If" if isinstance(value, float) else "<II", 6 if isinstance(value, float) else 4, value)


def write_gguf(path, arch, config, kinds, keys, seed):
    """A GGUF file without a tokenizer. kinds: format by GGUF name of the matrix; "" for all others."""
    rng = random.Random(seed)
    c = config
    d = c.get("head_dim") or c["hidden_size"] // c["num_attention_heads"]
    meta = {"general.architecture": arch}
    for name, value in {"block_count": c["num_hidden_layers"], "embedding_length": c["hidden_size"],
                        "context_length": c["max_position_embeddings"], "feed_forward_length": c["intermediate_size"],
                        "attention.head_count": c["num_attention_heads"],
                        "attention.head_count_kv": c["num_key_value_heads"], "attention.key_length": d,
                        "attention.value_length": d, "attention.layer_norm_rms_epsilon": 1e-5, **keys}.items():
        meta[f"{arch}.{name}"] = value
    table, data, at = b"", b"", 0
    rows = tensors(c)
    for _, name, shape, spread, mean in rows:
        kind = "F32" if len(shape) == 1 else kinds.get(name.split(".")[-2], kinds[""])
        if kind in PLAIN:
            raw = plain(rng, kind, math.prod(shape), spread, 1.0 if name.endswith("norm.weight") else mean)
        else:
            raw = blocks(rng, kind, math.prod(shape), spread)
        table += gguf_string(name) + struct.pack("<I", len(shape)) + struct.pack(f"<{len(shape)}Q", *reversed(shape))
        table += struct.pack("<IQ", PLAIN[kind] if kind in PLAIN else BLOCKS[kind][0], at)
        data += raw + bytes(-len(raw) % 32)
        at = len(data)
    head = b"GGUF" + struct.pack("<IQQ", 3, len(rows), len(meta)) + b"".join(gguf_key(k, v) for k, v in meta.items()) + table
    with open(path, "wb") as f:
        f.write(head + bytes(-len(head) % 32) + data)
