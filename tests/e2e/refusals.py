"""What the command refuses, when, and what it says: options that an artifact cannot follow, answers that cannot go on."""
import json
import os
import subprocess

from golden import *  # noqa: F403
from server import Server

LLAMA = os.path.join(GOLDEN, "llama")
IDS = ("--ids", "1,2", "-n", 2, "--quiet")


def refused(expect, says, *args, stdin=b"", env=None):
    """The command fails with this code, its message has these words, and a remedy. Returns what it said."""
    run = subprocess.run([SINTER, *map(str, args)], input=stdin, capture_output=True, env={**os.environ, **(env or {})}, timeout=600)
    text = run.stderr.decode(errors="replace")
    ok = run.returncode == expect and says in text and "\n  try: " in text
    check(ok, f"sinter {' '.join(map(str, args))[:200]} refuses", f"exit {run.returncode}, expected {expect} and '{says}': {text[-600:]}")
    return text


def artifacts(folder):
    """An artifact takes the options that it was compiled with, and no others. Kills: an option dropped because the model is already
    compiled; defaults taken for wishes; an artifact explained as if it were a checkpoint."""
    plain, other = os.path.join(folder, "plain.sinter"), os.path.join(folder, "other.sinter")
    same = ("--numerics", "exact", "--attention", "cpu!", "--without", "qkv_merge")
    sinter("compile", LLAMA, "-o", plain, "--quiet")
    sinter("compile", LLAMA, "-o", other, "--quiet", *same)
    for options in (["--numerics", "exact"], ["--kv", "f8e4m3"], ["--attention", "mma!"], ["--with", "attn_quant"], ["--without", "qkv_merge"],
                    ["--variant-per-bucket"], ["--experts", os.devnull]):
        refused(2, f"compiled with another --{options[0][2:]}" if options[0] not in ("--kv", "--with") else "--with and --kv", "run", plain, *IDS, *options)
    refused(2, "--mtp", "logits", plain, "--ids", 1, "-o", os.devnull, "--mtp")
    refused(2, "--numerics", "run", other, *IDS, "--numerics", "fast")
    refused(2, "already compiled", "compile", plain, "--target", "ref")
    check(sinter("run", other, *IDS) == sinter("run", other, *IDS, *same) == sinter("run", LLAMA, *IDS, *same), "an artifact takes its own options")
    check(sinter_json("explain", plain) == sinter_json("explain", LLAMA, "--quiet"), "an artifact explains itself as its checkpoint does")
    for options in (["--arch", "sm_90a"], ["--target", "ref"], ["--with", "attn_quant"]):
        refused(2, "compiled", "explain", plain, *options)


def poison(folder):
    """A model whose weights are NaN, with a chat template."""
    path = os.path.join(folder, "poisoned")
    os.mkdir(path)
    for name in ("config.json", "tokenizer.json"):
        os.symlink(os.path.join(LLAMA, name), os.path.join(path, name))
    with open(os.path.join(path, "tokenizer_config.json"), "w", encoding="utf-8") as f:
        json.dump({"chat_template": "{% for m in messages %}{{ m.content }}{% endfor %}"}, f)
    with open(os.path.join(LLAMA, "model.safetensors"), "rb") as f:
        raw = f.read()
    header = 8 + int.from_bytes(raw[:8], "little")
    with open(os.path.join(path, "model.safetensors"), "wb") as f:
        f.write(raw[:header] + b"\xff" * (len(raw) - header))
    return path


def not_finite(folder):
    """run, chat and serve say why an answer could not go on. Kills: an error that ends a turn like an answer; a cause guessed from
    what was asked for."""
    model, says = poison(folder), "logits are not finite"
    refused(1, says, "run", model, *IDS)
    refused(1, says, "chat", model, "--quiet", stdin=b"hello\nagain\n")
    s = Server(model, "--quiet")
    rules = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "integer"}}}
    for more in ({}, {"response_format": rules}):
        status, _, body = s.send("POST", "/v1/completions", json.dumps({"prompt": "a", "max_tokens": 2, **more}))
        check(status == 500 and says in json.loads(body)["error"]["message"], "serve says why an answer ended", body)
    s.process.terminate()


def all_of_them(folder):
    artifacts(folder)
    not_finite(folder)
