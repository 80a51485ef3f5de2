"""Writes recorded Hugging Face folders as the GGUF files that llama.cpp's converter makes of them: names, shapes and keys are
its, so the logits must be those that were recorded for the folder. Standard library only."""
import json
import math
import os
import struct

TYPES = {"F32": (0, 4), "F16": (1, 2), "BF16": (30, 2), "MXFP4": (39, 0)}


class Tensor:
    def __init__(self, kind, shape, raw):
        self.kind, self.shape, self.raw = kind, list(shape), raw

    def rows(self, first, step):
        """Rows first, first + step, … of the last dim but one (a vector: elements)."""
        shape = self.shape if len(self.shape) > 1 else [*self.shape, 1]
        row = len(self.raw) // math.prod(shape[:-1])
        size = shape[-2] * row
        out = b"".join(self.raw[m + r * row:m + (r + 1) * row] for m in range(0, len(self.raw), size) for r in range(first, shape[-2], step))
        shape = [*shape[:-2], len(range(first, shape[-2], step)), shape[-1]]
        return Tensor(self.kind, shape if len(self.shape) > 1 else shape[:-1], out)

    def turned(self):
        """The last two dims exchanged."""
        *outer, n, k = self.shape
        size = TYPES[self.kind][1]
        out = bytearray()
        for m in range(0, len(self.raw), n * k * size):
            for j in range(k):
                for i in range(n):
                    at = m + (i * k + j) * size
                    out += self.raw[at:at + size]
        return Tensor(self.kind, [*outer, k, n], bytes(out))

    def wide(self):
        """As f32."""
        if self.kind != "BF16":
            return self
        return Tensor("F32", self.shape, b"".join(b"\0\0" + self.raw[i:i + 2] for i in range(0, len(self.raw), 2)))


def read_folder(path):
    with open(os.path.join(path, "config.json"), encoding="utf-8") as f:
        config = json.load(f)
    with open(os.path.join(path, "model.safetensors"), "rb") as f:
        data = f.read()
    at = 8 + int.from_bytes(data[:8], "little")
    head = json.loads(data[8:at])
    head.pop("__metadata__", None)
    return config, {n: Tensor(t["dtype"], t["shape"], data[at + t["data_offsets"][0]:at + t["data_offsets"][1]]) for n, t in head.items()}


# ---- the file ----

def string(text):
    return struct.pack("<Q", len(text.encode())) + text.encode()


def value(v):
    """Type and bytes of a key's value; a list is of one type."""
    if isinstance(v, list):
        items = [value(x) for x in v]
        return 9, struct.pack("<IQ", items[0][0], len(items)) + b"".join(raw for _, raw in items)
    if isinstance(v, bool):
        return 7, struct.pack("<?", v)
    if isinstance(v, str):
        return 8, string(v)
    return (6, struct.pack("<f", v)) if isinstance(v, float) else (4, struct.pack("<I", v))


def write(path, keys, tensors):
    table, data = b"", b""
    for name, t in tensors.items():
        if len(t.shape) == 1 or name.endswith("ffn_gate_inp.weight"):
            t = t.wide()
        table += string(name) + struct.pack("<I", len(t.shape)) + struct.pack(f"<{len(t.shape)}Q", *reversed(t.shape))
        table += struct.pack("<IQ", TYPES[t.kind][0], len(data))
        data += t.raw + bytes(-len(t.raw) % 32)
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(keys))
    for name, v in keys.items():
        kind, raw = value(v)
        head += string(name) + struct.pack("<I", kind) + raw
    head += table
    with open(path, "wb") as f:
        f.write(head + bytes(-len(head) % 32) + data)


# ---- families ----

COMMON = {"input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
          "self_attn.o_proj": "attn_output", "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm",
          "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}
WHOLE = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight", "lm_head.weight": "output.weight"}


def plain_keys(c):
    d = c.get("head_dim") or c["hidden_size"] // c["num_attention_heads"]
    return {"block_count": c["num_hidden_layers"], "context_length": c["max_position_embeddings"], "embedding_length": c["hidden_size"],
            "feed_forward_length": c["intermediate_size"], "attention.head_count": c["num_attention_heads"],
            "attention.head_count_kv": c["num_key_value_heads"], "attention.key_length": d, "attention.value_length": d,
            "attention.layer_norm_rms_epsilon": c["rms_norm_eps"], "vocab_size": c["vocab_size"], "rope.freq_base": float(c.get("rope_theta", 1e4))}


def yarn_keys(scaling):
    keys = {"rope.scaling.type": "yarn", "rope.scaling.factor": float(scaling["factor"]),
            "rope.scaling.original_context_length": scaling["original_max_position_embeddings"]}
    if "mscale_all_dim" in scaling:
        keys["rope.scaling.yarn_log_multiplier"] = 0.1 * scaling["mscale_all_dim"]
    return keys


def named(tensors, names):
    """Tensors of layers by {HF name behind layers.<n>.: GGUF's behind blk.<n>.}, and those of no layer."""
    out, left = {}, {}
    for name, t in tensors.items():
        if name in WHOLE:
            out[WHOLE[name]] = t
            continue
        if not name.startswith("model.layers."):
            left[name] = t
            continue
        n, tail = name[len("model.layers."):].split(".", 1)
        stem, dot, suffix = tail.rpartition(".")
        if tail in names:
            out[f"blk.{n}.{names[tail]}"] = t
        elif stem in names:
            out[f"blk.{n}.{names[stem]}{dot}{suffix}"] = t
        else:
            left[name] = t
    return out, left


def deepseek(c, tensors, split):
    """split: W_kvb in two halves for latent attention, as converters since 2025 write it; else in one."""
    names = {**COMMON, "post_attention_layernorm": "ffn_norm", "self_attn.q_a_proj": "attn_q_a", "self_attn.q_a_layernorm": "attn_q_a_norm",
             "self_attn.q_b_proj": "attn_q_b", "self_attn.kv_a_proj_with_mqa": "attn_kv_a_mqa", "self_attn.kv_a_layernorm": "attn_kv_a_norm",
             "self_attn.kv_b_proj": "attn_kv_b", "mlp.gate": "ffn_gate_inp", "mlp.gate.e_score_correction_bias": "exp_probs_b.bias",
             **{f"mlp.shared_experts.{x}_proj": f"ffn_{x}_shexp" for x in ("gate", "up", "down")},
             **{x: f"nextn.{y}" for x, y in (("eh_proj", "eh_proj"), ("enorm", "enorm"), ("hnorm", "hnorm"), ("embed_tokens", "embed_tokens"),
                                             ("shared_head.head", "shared_head_head"), ("shared_head.norm", "shared_head_norm"))}}
    out, left = named(tensors, names)
    drafts = c.get("num_nextn_predict_layers", 0)
    heads, nope, rope, v, r = (c[k] for k in ("num_attention_heads", "qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim", "kv_lora_rank"))
    for n in range(c["num_hidden_layers"] + drafts):
        for x in ("gate", "up", "down"):
            stack = [left.pop(f"model.layers.{n}.mlp.experts.{e}.{x}_proj.weight", None) for e in range(c["n_routed_experts"])]
            if stack[0]:
                out[f"blk.{n}.ffn_{x}_exps.weight"] = Tensor(stack[0].kind, [len(stack), *stack[0].shape], b"".join(t.raw for t in stack))
        if split:
            t = out.pop(f"blk.{n}.attn_kv_b.weight")
            row, half = len(t.raw) // (heads * (nope + v)), []
            for first, size in ((0, nope), (nope, v)):
                half.append(Tensor(t.kind, [heads, size, r], b"".join(t.raw[(h * (nope + v) + first) * row:][:size * row] for h in range(heads))))
            out[f"blk.{n}.attn_k_b.weight"], out[f"blk.{n}.attn_v_b.weight"] = half[0].turned(), half[1]
    keys = {**plain_keys(c), **yarn_keys(c["rope_scaling"]), "block_count": c["num_hidden_layers"] + drafts,
            "leading_dense_block_count": c["first_k_dense_replace"], "attention.kv_lora_rank": r, "rope.dimension_count": rope,
            "expert_count": c["n_routed_experts"], "expert_used_count": c["num_experts_per_tok"],
            "expert_feed_forward_length": c["moe_intermediate_size"], "expert_shared_count": c["n_shared_experts"],
            "expert_weights_scale": float(c["routed_scaling_factor"])}
    keys.update({"attention.head_count_kv": 1, "attention.key_length": r + rope, "attention.value_length": r,
                 "attention.key_length_mla": nope + rope, "attention.value_length_mla": v} if split else
                {"attention.head_count_kv": heads, "attention.key_length": nope + rope, "attention.value_length": v})
    if c.get("q_lora_rank"):
        keys["attention.q_lora_rank"] = c["q_lora_rank"]
    if c.get("n_group"):
        keys.update({"expert_group_count": c["n_group"], "expert_group_used_count": c["topk_group"]})
    if c["norm_topk_prob"]:
        keys["expert_weights_norm"] = True
    if "DeepseekV3ForCausalLM" in c["architectures"]:
        keys["expert_gating_func"] = 2
    elif split:
        keys["expert_gating_func"] = 1
    if drafts:
        keys["nextn_predict_layers"] = drafts
    return "deepseek2", keys, out, left


def mxfp4(blocks, scales):
    """Codes in pairs [E, N, G, 16] with exponents [E, N, G], as blocks of an exponent and 16 bytes: elements j and j + 16."""
    *outer, groups, _ = blocks.shape
    raw = bytearray()
    for b in range(len(scales.raw)):
        pairs = blocks.raw[16 * b:16 * b + 16]
        codes = [x for p in pairs for x in (p & 15, p >> 4)]
        raw.append(scales.raw[b])
        raw += bytes(codes[j] | codes[j + 16] << 4 for j in range(16))
    return Tensor("MXFP4", [*outer, 32 * groups], bytes(raw))


def gpt_oss(c, tensors):
    names = {**COMMON, "post_attention_layernorm": "post_attention_norm", "mlp.router": "ffn_gate_inp",
             "self_attn.sinks": "attn_sinks.weight", "mlp.experts.down_proj_bias": "ffn_down_exps.bias"}
    out, left = named(tensors, names)
    for n in range(c["num_hidden_layers"]):
        at, to = f"model.layers.{n}.mlp.experts.", f"blk.{n}."
        if at + "down_proj" in left:
            both, down = left.pop(at + "gate_up_proj").turned(), left.pop(at + "down_proj").turned()
        else:
            both, down = (mxfp4(left.pop(at + x + "_blocks"), left.pop(at + x + "_scales")) for x in ("gate_up_proj", "down_proj"))
        bias = left.pop(at + "gate_up_proj_bias")
        out[to + "ffn_down_exps.weight"] = down
        bias = Tensor(bias.kind, [*bias.shape, 1], bias.raw)
        for i, x in enumerate(("gate", "up")):
            out[f"{to}ffn_{x}_exps.weight"] = both.rows(i, 2)
            half = bias.rows(i, 2)
            out[f"{to}ffn_{x}_exps.bias"] = Tensor(half.kind, half.shape[:-1], half.raw)
    keys = {**plain_keys(c), **yarn_keys(c["rope_scaling"]), "attention.sliding_window": c["sliding_window"],
            "expert_feed_forward_length": c["intermediate_size"], "expert_count": c["num_local_experts"],
            "expert_used_count": c["num_experts_per_tok"]}
    return "gpt-oss", keys, out, left


def exaone4(c, tensors):
    out, left = named(tensors, {**COMMON, "post_attention_layernorm": "post_attention_norm", "post_feedforward_layernorm": "post_ffw_norm"})
    keys = plain_keys(c)
    if c.get("sliding_window"):
        keys.update({"attention.sliding_window": c["sliding_window"],
                     "attention.sliding_window_pattern": [t == "sliding_attention" for t in c["layer_types"]]})
    s, base, d = c["rope_scaling"], c["rope_theta"], keys["attention.key_length"]
    factors, low, high = [], s["low_freq_factor"], s["high_freq_factor"]
    for i in range(0, d, 2):  # llama 3's factors of wave lengths
        turns = s["original_max_position_embeddings"] * base ** (-i / d) / (2 * math.pi)
        smooth = min(max((turns - low) / (high - low), 0), 1)
        factors.append(1 / ((1 - smooth) / s["factor"] + smooth))
    out["rope_freqs.weight"] = Tensor("F32", [d // 2], struct.pack(f"<{d // 2}f", *factors))
    return "exaone4", keys, out, left


def olmo2(c, tensors):
    out, left = named(tensors, {**COMMON, "post_attention_layernorm": "post_attention_norm", "post_feedforward_layernorm": "post_ffw_norm"})
    keys = {**plain_keys(c), "rope.freq_base": c["rope_theta"] if "rope_theta" in c else c["rope_parameters"]["rope_theta"]}
    if c.get("sliding_window"):
        s = c["rope_scaling"]
        keys.update({**yarn_keys(s), "rope.scaling.yarn_beta_fast": s["beta_fast"], "rope.scaling.yarn_beta_slow": s["beta_slow"],
                     "attention.sliding_window": c["sliding_window"],
                     "attention.sliding_window_pattern": [t == "sliding_attention" for t in c["layer_types"]]})
    return "olmo2", keys, out, left


def gemma4(c, tensors):
    names = {**COMMON, "post_attention_layernorm": "post_attention_norm", "pre_feedforward_layernorm": "ffn_norm",
             "post_feedforward_layernorm": "post_ffw_norm", "pre_feedforward_layernorm_2": "pre_ffw_norm_2",
             "post_feedforward_layernorm_1": "post_ffw_norm_1", "post_feedforward_layernorm_2": "post_ffw_norm_2",
             "per_layer_input_gate": "inp_gate", "per_layer_projection": "proj", "post_per_layer_input_norm": "post_norm",
             "router.proj": "ffn_gate_inp", "router.scale": "ffn_gate_inp.scale", "router.per_expert_scale": "ffn_down_exps.scale",
             "experts.gate_up_proj": "ffn_gate_up_exps.weight", "experts.down_proj": "ffn_down_exps.weight",
             "layer_scalar": "layer_output_scale.weight"}
    out, left = named(tensors, names)
    for hf, gguf in (("embed_tokens_per_layer", "per_layer_token_embd"), ("per_layer_model_projection", "per_layer_model_proj"),
                     ("per_layer_projection_norm", "per_layer_proj_norm")):
        if f"model.{hf}.weight" in left:
            out[gguf + ".weight"] = left.pop(f"model.{hf}.weight")
    slides = [t == "sliding_attention" for t in c["layer_types"]]
    full, local = c["rope_parameters"]["full_attention"], c["rope_parameters"]["sliding_attention"]
    wide, d, layers = c["global_head_dim"], c["head_dim"], c["num_hidden_layers"]
    keys = {**plain_keys(c), "attention.sliding_window": c["sliding_window"], "attention.sliding_window_pattern": slides,
            "attention.shared_kv_layers": c["num_kv_shared_layers"], "embedding_length_per_layer_input": c["hidden_size_per_layer_input"] or 0,
            "attention.key_length": wide, "attention.value_length": wide, "attention.key_length_swa": d, "attention.value_length_swa": d,
            "rope.dimension_count": wide, "rope.dimension_count_swa": d, "rope.freq_base": full["rope_theta"],
            "rope.freq_base_swa": local["rope_theta"], "final_logit_softcapping": c["final_logit_softcapping"]}
    if c["use_double_wide_mlp"]:
        own = layers - c["num_kv_shared_layers"]
        keys["feed_forward_length"] = [c["intermediate_size"] * (1 if n < own else 2) for n in range(layers)]
    if c.get("num_global_key_value_heads"):
        keys["attention.head_count_kv"] = [c["num_key_value_heads"] if s else c["num_global_key_value_heads"] for s in slides]
    if c["enable_moe_block"]:
        keys.update({"expert_count": c["num_experts"], "expert_used_count": c["top_k_experts"],
                     "expert_feed_forward_length": c["moe_intermediate_size"]})
    turned = int(wide * full["partial_rotary_factor"] / 2)
    out["rope_freqs.weight"] = Tensor("F32", [wide // 2], struct.pack(f"<{wide // 2}f", *[1.0] * turned, *[1e30] * (wide // 2 - turned)))
    return "gemma4", keys, out, left


# Recorded folder -> how it is converted.
FOLDERS = {"deepseek_v2_lite": lambda c, t: deepseek(c, t, False), "deepseek_v2": lambda c, t: deepseek(c, t, True),
           "deepseek_v3": lambda c, t: deepseek(c, t, True), "gpt_oss": gpt_oss, "q_gpt_oss_mxfp4": gpt_oss, "exaone4": exaone4,
           "olmo2": olmo2, "olmo3": olmo2, "gemma4_ple": gemma4, "gemma4_moe": gemma4}


def convert(folder, path, change=None):
    """The folder as a GGUF file without a tokenizer; change(keys) may alter its keys. Every tensor is converted."""
    config, tensors = read_folder(folder)
    arch, keys, out, left = FOLDERS[os.path.basename(folder)](config, tensors)
    if left:
        raise ValueError(f"{folder}: {sorted(left)} are not converted")
    if change:
        change(keys)
    write(path, {"general.architecture": arch, **{f"{arch}.{k}": v for k, v in keys.items()}}, out)
