"""The recorded DeepSeek-V4 folder as released checkpoints store it: FP8 in blocks of 128x128 and experts in MXFP4, each weight
beside a `.scale` of exponents (F8_E8M0), and `mtp.*`; and the same values in f32, to compare with. Standard library only."""
import array
import bisect
import json
import math
import os
import re

from to_gguf import Tensor, read_folder

E2M1 = [0, .5, 1, 1.5, 2, 3, 4, 6]
E4M3 = [(m / 8 if not e else 1 + m / 8) * 2.0 ** (max(e, 1) - 7) for e in range(16) for m in range(8)][:127]
FP8 = re.compile(r"\.(attn\.(wq_a|wq_b|wkv|wo_a|wo_b|indexer\.wq_b)|ffn\.shared_experts\.w[123]|ffn\.experts\.\d+\.w2)\.weight$")
FP4 = re.compile(r"\.ffn\.experts\.\d+\.w[13]\.weight$")


def nearest(table, x):
    at = bisect.bisect_left(table, x)
    return at if at == 0 or at < len(table) and table[at] - x < x - table[at - 1] else at - 1


def coded(values, cols, block, table, most):
    """Codes with their sign apart, exponents of blocks (rows, cols), and what they stand for."""
    rows, (high, wide) = len(values) // cols, block
    across = -(-cols // wide)
    exponents = []
    for r in range(0, rows, high):
        for c in range(0, cols, wide):
            peak = max(abs(values[i * cols + j]) for i in range(r, min(r + high, rows)) for j in range(c, min(c + wide, cols)))
            exponents.append(math.ceil(math.log2(max(peak, 1e-30) / most)))
    codes, out = [], array.array("f")
    for i, x in enumerate(values):
        scale = 2.0 ** exponents[i // cols // high * across + i % cols // wide]
        code = nearest(table, abs(x) / scale)
        codes.append((code, x < 0))
        out.append(math.copysign(table[code] * scale, x))
    return codes, exponents, out


def floats(t):
    return array.array("f", t.wide().raw)


def write_folder(path, config, tensors):
    head, data = {}, b""
    for name, t in tensors.items():
        head[name] = {"dtype": t.kind, "shape": t.shape, "data_offsets": [len(data), len(data) + len(t.raw)]}
        data += t.raw
    text = json.dumps(head).encode()
    os.makedirs(path)
    with open(os.path.join(path, "model.safetensors"), "wb") as f:
        f.write(len(text).to_bytes(8, "little") + text + data)
    with open(os.path.join(path, "config.json"), "w", encoding="utf-8") as f:
        json.dump(config, f)


def convert(folder, stored, plain):
    """Writes both folders; returns how many tensors are FP8 and how many FP4."""
    config, tensors = read_folder(folder)
    released, values, counts = {}, {}, [0, 0]
    for name, t in tensors.items():
        small = bool(FP4.search(name))
        if not small and not FP8.search(name):
            released[name] = values[name] = t
            continue
        rows, cols = t.shape
        table, most, block = (E2M1, 6, (1, 32)) if small else (E4M3, 448, (128, 128))
        codes, exponents, out = coded(floats(t), cols, block, table, most)
        if small:
            half = [code | sign << 3 for code, sign in codes]
            raw = bytes(half[i] | half[i + 1] << 4 for i in range(0, len(half), 2))
            released[name] = Tensor("I8", [rows, cols // 2], raw)
        else:
            released[name] = Tensor("F8_E4M3", t.shape, bytes(code | sign << 7 for code, sign in codes))
        counts[small] += 1
        shape = [-(-rows // block[0]), -(-cols // block[1])]
        released[name[:-len("weight")] + "scale"] = Tensor("F8_E8M0", shape, bytes(e + 127 for e in exponents))
        values[name] = Tensor("F32", t.shape, out.tobytes())
    write_folder(plain, config, values)
    config["quantization_config"] = {"activation_scheme": "dynamic", "fmt": "e4m3", "quant_method": "fp8", "scale_fmt": "ue8m0",
                                     "weight_block_size": [128, 128]}
    config["expert_dtype"] = "fp4"
    config["num_nextn_predict_layers"] = 1  # a layer that drafts, in tensors of its own: not run, and said so
    released["mtp.0.norm.weight"] = tensors["norm.weight"]
    write_folder(stored, config, released)
    return counts
