"""Writes recorded folders as later releases of the library that made them save the same model. Standard library only."""
import os

from to_gguf import read_folder
from v4_scales import write_folder


def gemma4(c, tensors):
    """Layers that see everything are described one by one; images, which are not taken, look both ways and have ids."""
    c.update({"use_bidirectional_attention": "vision", "vision_soft_tokens_per_image": 280,
              **{f"{x}_token_id": 5 for x in ("boa", "boi", "eoa", "eoi", "image", "video")}})
    wide = {"head_dim": c.pop("global_head_dim")}
    heads = c.pop("num_global_key_value_heads", None)
    if heads and c["attention_k_eq_v"]:
        wide["num_key_value_heads"] = heads
    c["per_layer_config"] = {f"{n:02}": wide for n, kind in enumerate(c["layer_types"]) if kind == "full_attention"}
    return tensors


def deepseek_v3(c, tensors):
    """The draft layer is counted, and left out."""
    return {name: t for name, t in tensors.items() if not name.startswith(f"model.layers.{c['num_hidden_layers']}.")}


def deepseek_v4(_, tensors):
    """Released names below `model.`, one of them changed."""
    out = {}
    for name, t in tensors.items():
        name = name.replace(".attn.kv_norm.", ".attn.norm.")
        out[name if name == "head.weight" else "model." + name] = t
    return out


FOLDERS = {"gemma4_moe": gemma4, "gemma4_ple": gemma4, "deepseek_v3": deepseek_v3, "deepseek_v4": deepseek_v4}


def convert(folder, path):
    config, tensors = read_folder(folder)
    write_folder(path, config, FOLDERS[os.path.basename(folder)](config, tensors))
