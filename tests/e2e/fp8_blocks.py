"""A recorded folder as an FP8 checkpoint: each matrix of its layers as e4m3 codes with f32 scales of blocks of 128x128 beside it, and
the same values in f32, to compare with. Embeddings, heads, norms, convolutions, routers and towers stay as they are, as in released
ones. Standard library only."""
import array
import re

from to_gguf import Tensor, read_folder
from v4_scales import E4M3, coded, floats, write_folder

KEPT = re.compile(r"embed|head\.weight|norm|conv1d|router|\.gate\.weight|visual|vision|eh_proj")
CONFIG = {"quant_method": "fp8", "fmt": "e4m3", "activation_scheme": "dynamic", "weight_block_size": [128, 128]}


def convert(folder, stored, plain):
    """Writes both folders; returns how many matrices are FP8."""
    config, tensors = read_folder(folder)
    released, values = {}, {}
    for name, t in tensors.items():
        released[name] = values[name] = t
        if len(t.shape) != 2 or not name.endswith(".weight") or KEPT.search(name):
            continue
        codes, exponents, out = coded(floats(t), t.shape[1], (128, 128), E4M3, 448)
        scales = array.array("f", [2.0 ** e for e in exponents]).tobytes()
        released[name] = Tensor("F8_E4M3", t.shape, bytes(code | sign << 7 for code, sign in codes))
        released[name + "_scale_inv"] = Tensor("F32", [-(-n // 128) for n in t.shape], scales)
        values[name] = Tensor("F32", t.shape, out.tobytes())
    write_folder(plain, config, values)
    write_folder(stored, {**config, "quantization_config": CONFIG}, released)
    return len(released) - len(tensors)
