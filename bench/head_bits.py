#!/usr/bin/env python3
"""How many panels of a head in Q8_0 a greedy token needs in full, by how many low bits a top leaves out (TOP_DROP, base/pack.h).

   bench/head_bits.py MODEL.gguf          needs numpy and gguf

The states in front of the head are embeddings (`sinter serve --embeddings`) of pieces of README.md, of random tokens, and of one token
again and again. A panel is needed when the largest bound of its 16 rows reaches the largest logit. Shown are the median and the mean share
of panels, and how far a bound lies above its logit, in standard deviations of the logits."""
import argparse
import json
import os
import random
import subprocess
import time
import urllib.error
import urllib.request

from compare import ROOT, SINTER

PANEL_ROWS, BLOCK, PORT, SEED = 16, 32, 8098, 1


def load_libraries():
    """What --help does without."""
    global gguf, np
    import gguf
    import numpy as np


def head(path):
    """Factors [V, K/32] and codes [V, K/32, 32]."""
    tensors = {t.name: t for t in gguf.GGUFReader(path).tensors}
    t = tensors.get("output.weight", tensors["token_embd.weight"])
    if t.tensor_type != gguf.GGMLQuantizationType.Q8_0:
        raise SystemExit(f"{t.name} is {t.tensor_type.name}, not Q8_0")
    rows, columns = int(t.shape[1]), int(t.shape[0])
    blocks = np.array(t.data).reshape(rows, columns // BLOCK, 2 + BLOCK)
    factors = blocks[:, :, :2].copy().view(np.float16)[:, :, 0].astype(np.float32)
    return factors, blocks[:, :, 2:].view(np.int8).astype(np.float32)


def inputs(vocab):
    random.seed(SEED)
    with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as f:
        text = f.read()
    pieces = [text[at:at + random.randrange(20, 400)] for at in random.sample(range(len(text) - 400), 16)]
    yield "text", pieces
    yield "random tokens", [[random.randrange(10, vocab - 10) for _ in range(40)] for _ in range(8)]
    yield "one token again", [[random.randrange(10, vocab - 10)] * 30 for _ in range(8)]


def embeddings(items):
    request = urllib.request.Request(f"http://127.0.0.1:{PORT}/v1/embeddings", json.dumps({"input": items}).encode(), {"Content-Type": "application/json"})
    for _ in range(50):
        try:
            with urllib.request.urlopen(request) as answer:
                return np.array([e["embedding"] for e in json.load(answer)["data"]], dtype=np.float32)
        except urllib.error.URLError:
            time.sleep(.2)
    raise SystemExit("the server does not answer")


def needed(factors, codes, x, drop):
    """Share of the panels, and the distance of bounds."""
    blocks = x.reshape(-1, BLOCK)
    scale = np.abs(blocks).max(1) / 127
    q = np.round(blocks / scale[:, None])
    logits = (np.einsum("vbk,bk->vb", codes, q) * factors) @ scale
    low = (codes + 128) % 2 ** drop
    above = (2 ** drop - 1) * np.maximum(q, 0).sum(1) - np.einsum("vbk,bk->vb", low, q)
    bounds = logits + (above * factors) @ scale
    panels = bounds[:len(bounds) // PANEL_ROWS * PANEL_ROWS].reshape(-1, PANEL_ROWS).max(1)
    return (panels >= logits.max()).mean(), (bounds - logits).mean() / logits.std()


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("model", metavar="MODEL.gguf")
    args = p.parse_args()
    load_libraries()
    factors, codes = head(args.model)
    server = subprocess.Popen([SINTER, "serve", args.model, "--embeddings", "--port", str(PORT), "-q"])
    print("| states | bits left out | panels, median | mean | a bound above its logit |\n|---|---|---|---|---|")
    try:
        for label, items in inputs(len(codes)):
            states = embeddings(items)
            for drop in (2, 3, 4):
                share, above = np.array([needed(factors, codes, x, drop) for x in states]).T
                print(f"| {label} | {drop} | {100 * np.median(share):.2f} % | {100 * share.mean():.2f} % | {np.median(above):.2f} |", flush=True)
    finally:
        server.terminate()


if __name__ == "__main__":
    main()
