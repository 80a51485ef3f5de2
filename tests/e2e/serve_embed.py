"""/v1/embeddings of a server with --embeddings. What a vector must be is known from elsewhere: the head's matrix times the state is the row
of logits that `sinter logits` gives. Kills: a state of another token or layer, one before the norm, a mean over something else, vectors
that depend on their neighbours or on a prefix that is found."""
import concurrent.futures
import struct

import openai

from server import *  # noqa: F403

TEXTS = [[5, 6, 7, 8], [9, 8, 7, 6, 5, 4, 3], [5], list(range(3, 203))]


def head_matrix(folder):
    """Rows of the head, f32."""
    with open(os.path.join(folder, "model.safetensors"), "rb") as f:
        header = json.loads(f.read(struct.unpack("<Q", f.read(8))[0]))
        start = f.tell()
        t = header.get("lm_head.weight") or header["model.embed_tokens.weight"]
        f.seek(start + t["data_offsets"][0])
        data = f.read(t["data_offsets"][1] - t["data_offsets"][0])
    rows, cols = t["shape"]
    kind = {"F32": ("<%df", 4), "BF16": ("<%dH", 2)}[t["dtype"]]
    flat = struct.unpack(kind[0] % (len(data) // kind[1]), data)
    if t["dtype"] == "BF16":
        flat = struct.unpack("<%df" % len(flat), struct.pack("<%dI" % len(flat), *(x << 16 for x in flat)))
    return [flat[i * cols:(i + 1) * cols] for i in range(rows)]


def logits(ids):
    path = os.path.join(TEMP.name, "embed.npy")
    sinter("logits", SMALL, "--ids", ids_text(ids), "--numerics", "exact", "-o", path, "--quiet")
    shape, flat = npy(path)
    return [flat[i * shape[1]:(i + 1) * shape[1]] for i in range(shape[0])]


def same_direction(vector, want, head, name):
    """The head times the vector is `want`, but for one factor: the vector's length became 1."""
    got = [sum(a * b for a, b in zip(row, vector)) for row in head]
    scale = sum(a * b for a, b in zip(got, want)) / sum(a * a for a in got)
    off = max(abs(scale * a - b) for a, b in zip(got, want)) / max(map(abs, want))
    check(scale > 0 and off < 1e-4, name, (scale, off))
    check(abs(sum(x * x for x in vector) - 1) < 1e-5, f"{name}: its length is 1")


def vectors(s, texts):
    status, r = s.post("/v1/embeddings", input=texts, user="somebody")
    check(status == 200 and [d["index"] for d in r["data"]] == list(range(len(texts))), "embeddings", r)
    return [d["embedding"] for d in r["data"]]


def refused(s):
    for b in ({}, {"input": []}, {"input": 5}, {"input": [[]]}, {"input": [-1]}, {"input": "a", "encoding_format": "int8"}, {"input": "a", "dimensions": 8}, {"input": "a", "truncate_prompt_tokens": 1},
              {"input": [1] * 5000}, {"input": ["a"] * 2049}):
        status, r = s.post("/v1/embeddings", **b)
        check(status == 400 and r["error"]["param"] in ("input", "encoding_format", "dimensions", "truncate_prompt_tokens"), f"embeddings: {str(b)[:60]}", r)
    for path, b in (("/v1/completions", {"prompt": "a"}), ("/v1/chat/completions", {"messages": [{"role": "user", "content": "a"}]})):
        status, r = s.post(path, **b)
        check(status == 400 and r["error"]["code"] == "unsupported", f"embeddings only: {path}", r)


def run():
    head = head_matrix(SMALL)
    s = Server(SMALL, "--embeddings", "--numerics", "exact")
    all_ = vectors(s, TEXTS)
    for ids, v in zip(TEXTS, all_):
        same_direction(v, logits(ids)[-1], head, f"embedding of {len(ids)} tokens")
    check(vectors(s, TEXTS[:1])[0] == all_[0] and vectors(s, TEXTS[3:])[0] == all_[3], "an embedding does not depend on others, or on prefixes found")
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        check(all(v == all_ for v in pool.map(lambda _: vectors(s, TEXTS), range(16))), "embeddings in a crowd")
    c = openai.OpenAI(base_url=f"http://127.0.0.1:{s.port}/v1", api_key="x")
    r = c.embeddings.create(model="llama", input=["one", "two words"])  # the SDK asks for base64
    plain = s.post("/v1/embeddings", input=["one", "two words"])[1]
    check(all(max(abs(a - b) for a, b in zip(x.embedding, y["embedding"])) < 1e-6 for x, y in zip(r.data, plain["data"])), "base64 is the same vector")
    check(r.usage.prompt_tokens == r.usage.total_tokens == plain["usage"]["prompt_tokens"] > 0, "usage of embeddings", plain["usage"])
    refused(s)
    check(s.settled("llama")["kv_tokens_used"] == 0, "no page is left in use")
    s.stop()
    s = Server(SMALL, "--embeddings", "--numerics", "exact", "--pooling", "mean")
    for ids, v in zip(TEXTS[:3], vectors(s, TEXTS[:3])):
        same_direction(v, [sum(x) for x in zip(*logits(ids))], head, f"mean of {len(ids)} tokens")
    s.stop()
    sinter("serve", SMALL, "--pooling", "first", expect=2)
