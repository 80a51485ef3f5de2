"""Records ids of the `tokenizers` package for the two real models over hostile strings.

    pip install tokenizers==0.23.3 gguf==0.19.0;  python record.py smollm2.gguf gemma3.gguf

Writes strings.jsonl (a string a line; [[s, n], ...] stands for s n times, and so on) and <model>.hashes: for every
string the number of ids, and FNV-1a of the ids, of the ids with special tokens taken as text, and of the decoded text.
The reference tokenizers are built from the GGUF's vocabulary as Hugging Face builds them.
"""
import json
import os
import random
import struct
import sys
import unicodedata

import gguf
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

HERE = os.path.dirname(os.path.abspath(__file__))
MARK = "\u2581"

def keys(path):
    reader = gguf.GGUFReader(path)
    return {k: f.contents() for k, f in reader.fields.items() if k.startswith("tokenizer.ggml.")}

def add_listed(tokenizer, tokens, types, vocab):
    tokenizer.add_special_tokens([AddedToken(t, normalized=False, special=True)
                                  for t, y in zip(tokens, types) if y == 3])
    tokenizer.add_tokens([AddedToken(t, normalized=False, special=False)
                          for t, y in zip(tokens, types) if y == 4 and t in vocab])

def byte_level(k):
    tokens = k["tokenizer.ggml.tokens"]
    vocab = {t: i for i, t in enumerate(tokens)}
    t = Tokenizer(models.BPE(vocab, [tuple(m.split(" ")) for m in k["tokenizer.ggml.merges"]]))
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True),
                                               pre_tokenizers.ByteLevel(add_prefix_space=False)])
    t.decoder = decoders.ByteLevel()
    add_listed(t, tokens, k["tokenizer.ggml.token_type"], vocab)
    return t

def derived_merges(vocab):
    """Every way to cut a piece in two pieces; earlier pieces first, then the longer left part."""
    merges = []
    for made, rank in vocab.items():
        cuts = [(made[:i], made[i:]) for i in range(1, len(made)) if made[:i] in vocab and made[i:] in vocab]
        merges += [(rank, -len(a), -len(b), a, b) for a, b in sorted(cuts, key=lambda c: (vocab[c[0]], vocab[c[1]]))]
    merges.sort(key=lambda m: m[:3])
    return [(a, b) for _, _, _, a, b in merges]

def gemma(k):
    tokens = k["tokenizer.ggml.tokens"]
    spelled = [MARK * len(t) if t and not t.strip(" ") else t for t in tokens]
    vocab = {t: i for i, t in enumerate(spelled)}
    t = Tokenizer(models.BPE(vocab, derived_merges(vocab), fuse_unk=True, unk_token="<unk>", byte_fallback=True))
    t.normalizer = normalizers.Replace(" ", MARK)
    t.pre_tokenizer = pre_tokenizers.Split(" ", behavior="merged_with_previous")
    t.decoder = decoders.Sequence([decoders.Replace(MARK, " "), decoders.ByteFallback(), decoders.Fuse()])
    t.post_processor = processors.TemplateProcessing(single="<bos> $A", pair="<bos> $A $B",
                                                     special_tokens=[("<bos>", vocab["<bos>"])])
    add_listed(t, tokens, k["tokenizer.ggml.token_type"], vocab)
    return t

# ---- strings --------------------------------------------------------------------------------------------------

WORDS = ("the of and to in is that it was for on are with as his they at be this from have or by one had not but what "
         "all were when we there can an your which their said if do will each about how up out them then she many some "
         "Größe naïve façade Ελληνικά Привет мир שלום עולם مرحبا بالعالم नमस्ते สวัสดี 안녕하세요 こんにちは 東京 你好世界 "
         "don't I'LL we've HE'S it'ſ camelCase HTTPServer snake_case __init__ foo.bar() <div> </div> #include &amp; "
         "3.14159 1,000,000 0x1F 1e-9 ½ ² Ⅷ ٣٤٥ १२३ http://example.com/a?b=c&d=%20 a@b.co C:\\dir\\f.txt $x += y[i]; "
         "ﬁ ﬀ ǅ ŉ ß ẞ İ ı ꙮ 𝕳𝖊𝖑𝖑𝖔 𐍈 🏳️‍🌈 👩‍👩‍👧‍👦 👍🏽 🇫🇷🇩🇪 ☃️ ©™ \u200b \u200d \ufeff \u00ad \u202e").split(" ")
SPACES = [" ", "  ", "   ", "    ", "\t", "\n", "\r\n", "\r", "\n\n", "\n\n\n", " \n ", "\u00a0", "\u3000", "\u2003", "\u2028",
          "\u2029", "\u0085", "\u180e", "\u1680", "\u200b", "\x0b", "\x0c", "\x1c", "\t\t\t", " " * 17, "\n" * 33, "\t" * 9]
LOOKALIKES = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|im_end", "|im_end|>", "<<|im_end|>>", "<|im_<|im_end|>end|>",
              "<repo_name>", "<file_sep>", "<bos>", "<eos>", "<unk>", "<pad>", "<start_of_turn>", "<end_of_turn>", "<mask>",
              "<unused0>", "<unused99>", "[multimodal]", "<0x41>", "<0xE2>", "<0x0A>", "<table>", "</table>", "<h1>", "<code>",
              "\u2581", "\u2581\u2581", "\u2581the", "Ġthe", "Ċ", "<s>", "</s>", "[INST]", "<start_of_image>", "< bos>", "<BOS>"]
MARKS = "\u0300\u0301\u0308\u0323\u0327\u0345\u0483\u05b0\u0651\u093c\u0e38\u1dc4\u20d0\ufe0f\u3099"
CONTROLS = "\x00\x01\x02\x07\x08\x1b\x7f\x80\x9f\ufffe\uffff\ufffd\U0010ffff\ue000\U000f0000"

def any_char(r):
    while True:
        top = r.choice([0x7f, 0x24f, 0x7ff, 0x2fff, 0x9fff, 0xffff, 0x1f9ff, 0x2ffff, 0x10ffff])
        c = chr(r.randint(0, top))
        if unicodedata.category(c) not in ("Cn", "Cs"):
            return c

def piece(r):
    kind = r.randrange(14)
    if kind < 5:
        return r.choice(WORDS)
    if kind < 7:
        return r.choice(SPACES)
    if kind == 7:
        return r.choice(LOOKALIKES)
    if kind == 8:
        return "".join(any_char(r) for _ in range(r.randint(1, 8)))
    if kind == 9:
        return r.choice("aeoАक한") + "".join(r.choice(MARKS) for _ in range(r.randint(1, 5)))
    if kind == 10:
        return r.choice(CONTROLS)
    if kind == 11:
        return "".join(r.choice("0123456789.,-") for _ in range(r.randint(1, 12)))
    if kind == 12:
        return r.choice(["a", "ab", " ", "=", "-", "!", "aA", "x ", "。", "é", "🙂", "\n", "()"]) * r.randint(2, 40)
    return "".join(chr(r.randint(33, 126)) for _ in range(r.randint(1, 20)))

def strings():
    r = random.Random(20250726)
    out = ["", " ", "\n", "\x00"] + WORDS + SPACES + LOOKALIKES + list(MARKS + CONTROLS)
    out += [chr(c) for c in range(1, 0x180)] + ["a" + chr(c) + "b" for c in range(1, 0x100)]
    out += [a + b for a in LOOKALIKES for b in (" x", "\n", LOOKALIKES[0], " " + LOOKALIKES[11])]
    for unit in ["a", "ab", " ", "\n", "\t", "=", "aaaaaaaab", "é", "e\u0301", "你", "🙂", "\u200d", "\u0300", "0", "\x00", "<|im_end|>",
                 "\u2581", "the ", "A", "<", "\u00a0", " \n", "\r\n", "\U0010ffff", "हि", "!?", "don't"]:
        for n in (3, 7, 16, 31, 64, 100, 255, 1000, 5000):
            out.append([[unit, n]])
            out.append([["x", 1], [unit, n], [r.choice(WORDS), 2]])
    while len(out) < 12000:
        glue = r.choice(["", " ", " ", " "])
        out.append(glue.join(piece(r) for _ in range(r.choice([1, 2, 3, 4, 6, 9]))))
    return out

def expand(s):
    return s if isinstance(s, str) else "".join(part * n for part, n in s)

# ---- recording ------------------------------------------------------------------------------------------------

def fnv(data):
    h = 0xcbf29ce484222325
    for byte in data:
        h = (h ^ byte) * 0x100000001b3 & 0xffffffffffffffff
    return h

def pack(ids):
    return struct.pack(f"<{len(ids)}i", *ids)

def record(name, tokenizer, texts):
    normal = [e.ids for e in tokenizer.encode_batch(texts)]
    tokenizer.encode_special_tokens = True
    plain = [e.ids for e in tokenizer.encode_batch(texts)]
    decoded = [tokenizer.decode(ids) for ids in normal]
    with open(os.path.join(HERE, name + ".hashes"), "w") as f:
        for a, b, text in zip(normal, plain, decoded):
            f.write(f"{len(a)} {fnv(pack(a)):x} {fnv(pack(b)):x} {fnv(text.encode()):x}\n")

def main():
    listed = strings()
    texts = [expand(s) for s in listed]
    with open(os.path.join(HERE, "strings.jsonl"), "w", encoding="utf-8") as f:
        for s in listed:
            f.write(json.dumps(s, ensure_ascii=False) + "\n")
    record("smollm2", byte_level(keys(sys.argv[1])), texts)
    record("gemma3", gemma(keys(sys.argv[2])), texts)

if __name__ == "__main__":
    main()
