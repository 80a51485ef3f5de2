#!/usr/bin/env python3
"""Writes a Llama-shaped GGUF model of random weights, with a tokenizer, so that every engine loads it.

   bench/make_model.py OUT.gguf [--kind Q4_0] [--head-kind Q6_K] [--layers 22] [--width 2048] [--ffn 5632] [--heads 32] [--groups 4]
                       [--vocab 32000] [--context 4096] [--seed 1]

The defaults are the shape of a 1.1 B model. Speed depends on shapes and formats only, so random weights time like trained ones.
Standard library only; streams to disk; the same arguments give the same bytes."""
import argparse
import itertools
import math
import os
import random
import struct
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "tests", "e2e"))
from checkpoints import BLOCKS, PLAIN, gguf_key, gguf_string, plain, tensors  # noqa: E402

CHUNK = 1 << 17  # blocks or elements held at once
NORMAL, UNKNOWN, CONTROL, BYTE = 1, 2, 3, 6  # token types of GGUF
INT32, FLOAT32, STRING, ARRAY = 5, 6, 8, 9  # value types of GGUF
ONE_SCALE = [kind for kind, row in BLOCKS.items() if len(row[3]) == 1]


def pieces():
    """Pieces of a SentencePiece-like vocabulary, short ones first; each is one letter longer than another."""
    letters = "etaoinshrdlucmfwypvbgkjqxz"
    yield from ["\u2581", *letters, *letters.upper(), *"0123456789.,;:!?'\"()-"]
    for length in itertools.count(1):
        yield from ("\u2581" + "".join(word) for word in itertools.product(letters, repeat=length))
        yield from ("".join(word) for word in itertools.product(letters, repeat=length + 1))


def vocabulary(size):
    """(text, type) of every token: specials, all bytes, pieces."""
    specials = [("<unk>", UNKNOWN), ("<s>", CONTROL), ("</s>", CONTROL), *((f"<0x{b:02X}>", BYTE) for b in range(256))]
    if size < len(specials) + 100:
        raise SystemExit(f"--vocab {size}: at least {len(specials) + 100} are needed, for bytes and letters")
    return specials + [(text, NORMAL) for text in itertools.islice(pieces(), size - len(specials))]


def gguf_array(name, kind, values, form):
    head = gguf_string(name) + struct.pack("<IIQ", ARRAY, kind, len(values))
    if kind == STRING:
        return head + b"".join(map(gguf_string, values))
    return head + struct.pack(f"<{len(values)}{form}", *values)


def tokenizer(size):
    rows = vocabulary(size)
    keys = {"tokenizer.ggml.model": "llama", "tokenizer.ggml.unknown_token_id": 0, "tokenizer.ggml.bos_token_id": 1,
            "tokenizer.ggml.eos_token_id": 2}
    return [gguf_key(k, v) for k, v in keys.items()] + [
        gguf_array("tokenizer.ggml.tokens", STRING, [text for text, _ in rows], None),
        gguf_array("tokenizer.ggml.scores", FLOAT32, [-float(i) if kind == NORMAL else 0.0 for i, (_, kind) in enumerate(rows)], "f"),
        gguf_array("tokenizer.ggml.token_type", INT32, [kind for _, kind in rows], "i")]


def random_blocks(rng, kind, blocks, spread):
    """Random codes under one scale a block. Its low byte stays random, which varies it by a quarter; the high byte sets the size."""
    _, _, size, offsets, reach = BLOCKS[kind]
    out = bytearray(rng.randbytes(blocks * size))
    out[offsets[0] + 1::size] = struct.pack("<e", spread * 2 / reach)[1:] * blocks
    return out


def write_tensor(f, rng, kind, shape, spread, mean):
    count = math.prod(shape)
    if kind in PLAIN:
        f.write(plain(rng, kind, count, spread, mean))
    else:
        left = count // BLOCKS[kind][1]
        while left:
            f.write(random_blocks(rng, kind, min(left, CHUNK), spread))
            left -= min(left, CHUNK)
    f.write(bytes(-f.tell() % 32))


def tensor_bytes(kind, shape):
    if kind in PLAIN:
        return math.prod(shape) * (4 if kind == "F32" else 2)
    return math.prod(shape) // BLOCKS[kind][1] * BLOCKS[kind][2]


def kind_of(args, name, shape):
    if len(shape) == 1:
        return "F32"
    kind = args.head_kind if name == "output.weight" else args.kind
    if shape[-1] % BLOCKS[kind][1]:
        raise SystemExit(f"{name}: rows of {shape[-1]} do not divide into {kind} blocks of {BLOCKS[kind][1]}")
    return kind


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("output")
    p.add_argument("--kind", default="Q4_0", choices=ONE_SCALE)
    p.add_argument("--head-kind", choices=ONE_SCALE, help="format of the output matrix (default Q6_K; Q8_0 when --kind is)")
    for name, value in {"layers": 22, "width": 2048, "ffn": 5632, "heads": 32, "groups": 4, "vocab": 32000, "context": 4096,
                        "seed": 1}.items():
        p.add_argument("--" + name, type=int, default=value)
    args = p.parse_args()
    args.head_kind = args.head_kind or ("Q8_0" if args.kind == "Q8_0" else "Q6_K")
    rows = tensors({"architectures": ["LlamaForCausalLM"], "hidden_size": args.width, "intermediate_size": args.ffn,
                    "vocab_size": args.vocab, "num_hidden_layers": args.layers, "num_attention_heads": args.heads,
                    "num_key_value_heads": args.groups})
    keys = {"general.architecture": "llama", "general.name": f"random {args.kind}", "llama.block_count": args.layers,
            "llama.embedding_length": args.width, "llama.context_length": args.context, "llama.feed_forward_length": args.ffn,
            "llama.attention.head_count": args.heads, "llama.attention.head_count_kv": args.groups,
            "llama.rope.dimension_count": args.width // args.heads, "llama.rope.freq_base": 10000.0,
            "llama.attention.layer_norm_rms_epsilon": 1e-5}
    meta = [gguf_key(k, v) for k, v in keys.items()] + tokenizer(args.vocab)
    table, at = [], 0
    for _, name, shape, _, _ in rows:
        kind = kind_of(args, name, shape)
        table.append(gguf_string(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *reversed(shape),
                                                     PLAIN[kind] if kind in PLAIN else BLOCKS[kind][0], at))
        at += tensor_bytes(kind, shape)
        at += -at % 32
    rng = random.Random(args.seed)
    with open(args.output, "wb") as f:
        f.write(b"GGUF" + struct.pack("<IQQ", 3, len(rows), len(meta)) + b"".join(meta + table))
        f.write(bytes(-f.tell() % 32))
        for _, name, shape, spread, mean in rows:
            write_tensor(f, rng, kind_of(args, name, shape), shape, spread, mean)


main()
