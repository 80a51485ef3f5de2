"""Records what the `tokenizers` package does with every part of a tokenizer.json that we support: features.json.

    pip install tokenizers==0.23.3;  python record_features.py
"""
import json
import os
import random

from tokenizers import (AddedToken, Regex, Tokenizer, decoders, models, normalizers as N, pre_tokenizers as P,
                        processors, trainers)

import record

HERE = os.path.dirname(os.path.abspath(__file__))
CORPUS = ["the cat sat on the mat and the dog ate the hat", "Hello world, it's 12 degrees! foo_bar(x) == 3.14",
          "Größe naïve café ελληνικά привет 你好世界 こんにちは", "a  b   c\n\nd\te"] * 3
SPLIT = r"(?i:'s|'t)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,2}| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"

def added(t):
    t.add_special_tokens([AddedToken("<s>", special=True, normalized=False), AddedToken("</s>", special=True, normalized=False),
                          AddedToken("[MASK]", special=True, lstrip=True, normalized=False),
                          AddedToken("<R>", special=True, rstrip=True, normalized=True)])
    t.add_tokens([AddedToken("word", single_word=True), AddedToken("Caf\u00e9", normalized=True),
                  AddedToken("  tab", lstrip=True, rstrip=True, normalized=False), AddedToken("<think>", normalized=False),
                  AddedToken("the cat", single_word=True, lstrip=True)])

def train(pre, norm=None, unigram=False, byte_level=False, **options):
    if unigram:
        t = Tokenizer(models.Unigram())
        trainer = trainers.UnigramTrainer(vocab_size=150, unk_token="<unk>", special_tokens=["<unk>"], show_progress=False)
    else:
        t = Tokenizer(models.BPE(**options))
        alphabet = P.ByteLevel.alphabet() if byte_level else []
        special = ["<unk>"] + ([f"<0x{b:02X}>" for b in range(256)] if options.get("byte_fallback") else [])
        trainer = trainers.BpeTrainer(vocab_size=430, special_tokens=special if options.get("unk_token") else [],
                                      initial_alphabet=alphabet, show_progress=False)
    if norm:
        t.normalizer = norm
    if pre:
        t.pre_tokenizer = pre
    t.train_from_iterator(CORPUS, trainer)
    return t

def tokenizers():
    bl = P.ByteLevel(add_prefix_space=False, use_regex=False)
    def byte_level(pre, norm=None):
        t = train(pre, norm, byte_level=True)
        t.decoder = decoders.ByteLevel()
        return t
    def words(pre, norm=None, **options):
        options = options or {"unk_token": "<unk>"}
        t = train(pre, norm, **options)
        t.decoder = decoders.Fuse()
        return t
    yield "byte_level_prefix", byte_level(P.ByteLevel(add_prefix_space=True))
    yield "byte_level_plain", byte_level(P.ByteLevel(add_prefix_space=False))
    for b in ("isolated", "removed", "merged_with_previous", "merged_with_next", "contiguous"):
        for invert in (False, True):
            yield f"split_{b}_{invert}", byte_level(P.Sequence([P.Split(Regex(r"\s+|\p{P}"), b, invert), bl]))
        yield f"string_{b}", byte_level(P.Sequence([P.Split("a", b), bl]))
        yield f"punctuation_{b}", byte_level(P.Sequence([P.Punctuation(b), bl]))
    yield "digits", byte_level(P.Sequence([P.Digits(individual_digits=False), bl]))
    yield "digits_each", byte_level(P.Sequence([P.Digits(individual_digits=True), P.Split(Regex(SPLIT), "isolated"), bl]))
    yield "whitespace", words(P.Whitespace())
    yield "whitespace_split", words(P.WhitespaceSplit())
    yield "bert", words(P.BertPreTokenizer())
    yield "char_delimiter", words(P.CharDelimiterSplit("_"))
    for scheme in ("always", "first", "never"):
        for split in (True, False):
            m = P.Metaspace(prepend_scheme=scheme, split=split)
            t = words(m)
            t.decoder = decoders.Metaspace(prepend_scheme=scheme, split=split)
            yield f"metaspace_{scheme}_{split}", t
    m = P.Metaspace(prepend_scheme="always")
    t = train(m, N.NFKC(), unigram=True)
    t.decoder = decoders.Metaspace(prepend_scheme="always")
    yield "unigram", t
    for n in ("NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents"):
        norm = N.Sequence([N.NFD(), N.StripAccents()]) if n == "StripAccents" else getattr(N, n)()
        yield "norm_" + n, byte_level(P.Sequence([P.Split(Regex(SPLIT), "isolated"), bl]), norm)
    yield "norm_strip", byte_level(P.ByteLevel(add_prefix_space=False), N.Strip(left=True, right=False))
    yield "norm_strip_both", byte_level(P.ByteLevel(add_prefix_space=False), N.Strip())
    yield "norm_replace", byte_level(P.ByteLevel(add_prefix_space=False),
                                     N.Sequence([N.Replace(Regex(r"\s+"), " "), N.Replace("a", "\u00e4"), N.Prepend("_")]))
    fallback = {"unk_token": "<unk>", "byte_fallback": True, "fuse_unk": True}
    t = words(None, N.Sequence([N.Prepend("\u2581"), N.Replace(" ", "\u2581")]), **fallback)
    t.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(),
                                   decoders.Strip(" ", 1, 0)])
    yield "fallback", t
    yield "fuse_unk", words(P.Whitespace(), unk_token="<unk>", fuse_unk=True)
    yield "no_unk", words(P.Whitespace(), fuse_unk=False)
    t = byte_level(P.Sequence([P.Split(Regex(SPLIT), "isolated"), bl]))
    j = json.loads(t.to_str())
    j["model"]["ignore_merges"] = True
    yield "ignore_merges", Tokenizer.from_str(json.dumps(j))
    yield "norm_marks", byte_level(P.ByteLevel(add_prefix_space=False), N.StripAccents())
    for name, pattern in (("words", r"\w+|[^\w\s]"), ("scripts", r"\p{Han}+|[\p{Greek}!]+|\p{^Cyrillic}"),
                          ("posix", r"[[:alpha:]]+|[[:punct:][:blank:]]|[[:upper:]]|\v"), ("empty", r"(?=(\d{3})+(?!\d))")):
        yield name, byte_level(P.Sequence([P.Split(Regex(pattern), "isolated"), bl]))
    yield "whitespace_joiners", words(P.Whitespace())
    yield "no_unk_marks", words(None, N.Sequence([N.Prepend("\u2581"), N.Replace(" ", "\u2581")]), fuse_unk=False)

# Of one tokenizer only: marks of three kinds; what is a word outside of sets only, and white space that two tokens take;
# what several scripts share; letters, signs and line ends that Unicode and POSIX tell apart; matches of no length; joiners;
# marks that meet over what is dropped.
MORE = {"norm_marks": ["\u0915\u093e\u0301", "1\u20dd", "\u0488a"], "words": ["x\u00b2y\u00b3 \u00bc\u00bda", "  tab    tab  word"],
        "scripts": ["\u4f60\u3001\u597d\u3002\u3005\u3007", "\u03b1\u0342\u0345!", "\u0436\u0483\u0485"],
        "empty": ["1234567", "the 12 cats 1212", "12,1234"],
        "no_unk_marks": ["a \u2028 b", "the\u1234 cat \ufffe \u2028 sat"],
        "whitespace_joiners": ["the\u200dcat \u200c!", "\u200dthe cat", "\u24d0word", "\U0001f3f3\ufe0f\u200d\U0001f308"],
        "posix": ["a\u0345\u2160\u24d0", "1+2=\u20ac\u00a9_", "a\x0bb\x0c\u2028c\u180ed\t"]}

PIECES = ["the cat", "word", "sword word, wording", " Caf\u00e9", "Cafe\u0301 ", "[MASK]", "  [MASK] \n", "<R>", "<R>  x", "<s>", "</s>",
          "  tab ", "<think>", "hello", "Hello ", "12", "3.14", "a", "_", "!?", "\u00bd", "\u0663", " ", "  ", "\n", "\u00a0", "\u3000",
          "na\u00efve", "\u1e9b\u0323", "\ufb01", "\u212b", "\u4f60\u597d", "\U0001f642", "e\u0301\u0323", "\u0130", "it's", "IT'S", "(x)=y;",
          "\u2581", "\u0000", "aaaa", "<0x41>", "<unk>"]

def texts():
    r = random.Random(5)
    out = ["", " ", "word", "  a  "]
    while len(out) < 60:
        out.append("".join(r.choice(PIECES) for _ in range(r.randint(1, 6))))
    return out

def post(t):
    t.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> $B </s>",
        special_tokens=[("<s>", t.token_to_id("<s>")), ("</s>", t.token_to_id("</s>"))])

def main():
    with open(os.path.join(HERE, "features.json"), "w", encoding="utf-8") as f:
        f.write("[")
        for i, (name, t) in enumerate(tokenizers()):
            added(t)
            post(t)
            cases = []
            for text in texts() + MORE.get(name, []):
                t.encode_special_tokens = False
                ids = t.encode(text).ids
                t.encode_special_tokens = True
                plain = t.encode(text, add_special_tokens=False).ids
                case = {"text": text, "ids": ids}
                # Ours never makes a special token from plain text, where a Unigram of theirs spells <unk> as itself.
                if not (name == "unigram" and "<unk>" in text):
                    case["plain"] = plain
                # Theirs decodes added tokens as normalised, even when that turns special ones into text; and ours shows
                # the unknown piece of a Unigram, as their checkpoints' recorded outputs have it.
                odd = [t.token_to_id(x) for x in ("<R>", "word", "Caf\u00e9", "the cat")] if t.normalizer else []
                if not set(ids) & set(odd + ([0] if name == "unigram" else [])):
                    case["decoded"] = t.decode(ids)
                cases.append(case)
            f.write(",\n" if i else "\n")
            f.write(json.dumps({"name": name, "tokenizer": json.loads(t.to_str()), "cases": cases}, ensure_ascii=False))
        f.write("\n]\n")

main()
