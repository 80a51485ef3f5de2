"""What the command refuses, when, and what it says: options that an artifact cannot follow, answers that cannot go on."""
import json
import os
import re
import shutil
import subprocess

from golden import *  # noqa: F403
from server import Server
from to_gguf import Tensor, read_folder
from v4_scales import write_folder

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
    compiled; defaults taken for wishes, or not, where they are written out; an artifact explained as if it were a checkpoint."""
    plain, other, small = (os.path.join(folder, name + ".sinter") for name in ("plain", "other", "small"))
    same = ("--numerics", "exact", "--attention", "cpu!", "--without", "qkv_merge")
    sinter("compile", LLAMA, "-o", plain, "--quiet")
    sinter("compile", LLAMA, "-o", other, "--quiet", *same)
    sinter("compile", LLAMA, "-o", small, "--quiet", "--kv", "f8e4m3")
    for options in (["--numerics", "exact"], ["--kv", "f8e4m3"], ["--attention", "mma!"], ["--with", "attn_quant"], ["--without", "qkv_merge"],
                    ["--variant-per-bucket"], ["--experts", os.devnull]):
        refused(2, f"compiled with another --{options[0][2:]}" if options[0] not in ("--kv", "--with") else "--with and --kv", "run", plain, *IDS, *options)
    refused(2, "--mtp", "logits", plain, "--ids", 1, "-o", os.devnull, "--mtp")
    refused(2, "--numerics", "run", other, *IDS, "--numerics", "fast")
    for option, usual in (("--numerics", "fast"), ("--kv", "f16")):
        artifact = other if option == "--numerics" else small
        refused(2, f"another {option} than {usual}", "explain", artifact, option, usual)
        sinter("explain", plain, option, usual)
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
    what was asked for; numbers that are none as a vector, or as a prompt's scores."""
    model, says = poison(folder), "logits are not finite"
    refused(1, says, "run", model, *IDS)
    refused(1, says, "chat", model, "--quiet", stdin=b"hello\nagain\n")
    s = Server(model, "--quiet")
    rules = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "integer"}}}
    for more in ({}, {"response_format": rules}, {"prompt": "ab", "echo": True, "logprobs": 1, "max_tokens": 0}):
        status, _, body = s.send("POST", "/v1/completions", json.dumps({"prompt": "a", "max_tokens": 2, **more}))
        check(status == 500 and says in json.loads(body)["error"]["message"], "serve says why an answer ended", body)
    s.process.terminate()
    for pooling in ("last", "mean"):
        s = Server(model, "--quiet", "--embeddings", "--pooling", pooling)
        status, _, body = s.send("POST", "/v1/embeddings", json.dumps({"input": ["a", "b c"]}))
        check(status == 500 and "states are not finite" in json.loads(body)["error"]["message"], "serve says why there is no vector", body)
        s.process.terminate()


def before_work(folder):
    """What is wrong with a command line is said before the model is read: here it is none, which would be said first otherwise.
    Kills: a name looked up when the graph is there; a file opened when the answer is; a list of ids read after the weights."""
    model, lost = os.path.join(folder, "nonsense.gguf"), os.path.join(folder, "no folder", "out")
    with open(model, "wb") as f:
        f.write(b"GGUF\x03\0\0\0" + b"\xff" * 64)
    for options, code, says in ((["--device", "nonsense"], 2, "no device of this name"), (["--attention", "nonsense"], 2, "no attention kernel"),
                                (["--with", "nonsense"], 2, "no pass or fusion named"), (["--without", "nonsense"], 2, "no pass or fusion named")):
        text = refused(code, says, "run", model, "x", *options)
        check("hash " not in text, f"{options[0]} is looked at before files", text)
        refused(code, says, "explain", model, *options)
    refused(2, "--ids takes", "run", model, "--ids", "1,a")
    refused(1, "--loads cannot be written", "run", model, "x", "--loads", lost)
    refused(1, "cannot be put there", "compile", model, "-o", lost)
    refused(1, "-o cannot be written", "logits", model, "--ids", "1", "-o", lost)
    for command in (["compile", model], ["logits", model, "--ids", 1], ["encode", model, "--image", "x.png"], ["balance", model, "--places", 2]):
        refused(2, "-o writes a file, not to the standard output", *command, "-o", "-")
    refused(2, "-o writes a file", "compile", model, "-o", "")
    refused(2, "--loads writes a file", "run", model, "x", "--loads", "-")
    refused(2, "--trace writes a file", "serve", model, "--trace", "-")
    refused(1, "no experts to count", "run", LLAMA, *IDS, "--loads", os.path.join(folder, "loads"))
    refused(2, "poison: ", "run", LLAMA, *IDS, env={"SINTER_DEBUG": "poison,help"})


def alone():
    """Options that say nothing without another, or not to this command. Kills: one that is taken and ignored; a site that is not
    there, answered with silence."""
    for options, needs in ((["--kv-dialect", "map"], "--kv-events"), (["--kv-replay", "x"], "--kv-events"), (["--kv-queue", "9"], "--kv-events"),
                           (["--pooling", "mean"], "--embeddings")):
        refused(2, f"{options[0]} says nothing without {needs}", "serve", LLAMA, *options)
    for option in ("--seed", "--top-k", "--top-p", "--min-p"):
        for command in ("run", "chat"):
            refused(2, f"{option} says nothing without --temp", command, LLAMA, option, "1")
    refused(2, "--at says nothing without --why-not", "explain", LLAMA, "--at", "x")
    refused(2, "has no site of this name", "explain", LLAMA, "--quiet", "--why-not", "add_rmsnorm", "--at", "nonsense")
    refused(2, "--max says nothing without 'gc'", "cache", "ls", "--max", "1")
    declined = next(f for f in sinter_json("explain", LLAMA, "--quiet")["fusions"] if f["declined"])
    for name in ("site", "at"):
        sinter("explain", LLAMA, "--quiet", "--why-not", declined["name"], "--at", declined["declined"][0][name])
    for command in ("doctor", "top", "models", "balance"):
        text = refused(2, f"--device does not belong to 'sinter {command}'", command, "--device", "cpu")
        check(f"sinter {command} --help" in text, "a usage error names the command's own help", text)
    refused(2, "-n takes a whole number", "run", LLAMA, "-n", "abc")
    check(sinter_json("explain", LLAMA, "--quiet", "--device", "ref")["target"]["name"] == "ref", "explain --device")


def port_of_choice():
    """Kills: a page on port 0."""
    s = subprocess.Popen([SINTER, "serve", LLAMA, "--port", "0"], stderr=subprocess.PIPE, text=True)
    line = next((x for x in s.stderr if x.startswith("listen")), "")
    port = int(line.split(":")[-1].split()[0] or 0) if line else 0
    s.terminate()
    s.stderr.read()
    check(port > 0 and s.wait() == 0, "serve --port 0 prints the port", line)


def help_texts():
    """Kills: a row with a character of several bytes that is short by columns; options of a compile where nothing is compiled."""
    text = sinter("run", "--help").decode()
    rows = [x for x in text.splitlines() if x.startswith("  ") and "--" in x[:10]]
    check(all(x[28] == " " and (x[29] != " ") for x in rows if "  " in x[6:30]), "help: one column", text)
    for command in ("top", "doctor", "models", "balance"):
        check(b"--numerics" not in sinter(command, "--help"), f"{command} --help", "")
    check(sinter("doctor", "--help").startswith(b"usage: sinter doctor [options]"), "doctor --help has one blank")
    check(b"--numerics" in sinter("--help"), "sinter --help shows the options of compiles")


def remedies(folder):
    """What is said to do fits what is wrong. Kills: one remedy for all; a device blamed with the level of the CPU."""
    artifact, loads = os.path.join(folder, "plain.sinter"), os.path.join(folder, "loads.json")
    text = refused(1, "no file, folder or known model", "run", "smollm3", "x")
    check("sinter models ls" in text, "an unknown name leads to the known ones", text)
    text = refused(1, "device ref needs target ref", "run", artifact, *IDS, "--device", "ref")
    check("sinter compile MODEL --target ref" in text, "a device leads to its target", text)
    text = refused(2, "already an artifact", "compile", artifact, "-o", os.path.join(folder, "again.sinter"))
    text = refused(2, "there is no 'nonsense'", "serve", LLAMA, "--limit", "nonsense=1")
    check("body_bytes" in text and "sinter serve --help" in text, "--limit names the bounds", text)
    with open(loads, "w", encoding="utf-8") as f:
        json.dump({"layers": [{"layer": 0, "experts": 4, "tokens": [9, 2, 0, 7]}]}, f)
    for options, says in ((["--places", 3], "a place for each expert"), (["--devices", 3], "multiple of the devices"), (["--groups", 3], "divide the experts")):
        text = refused(2, "4 experts in", "balance", loads, *options)
        check(says in text.split("try:")[1], "balance: what to choose", text)
    bad = os.path.join(folder, "wide")
    os.mkdir(bad)
    os.symlink(os.path.join(LLAMA, "model.safetensors"), os.path.join(bad, "model.safetensors"))
    with open(os.path.join(LLAMA, "config.json"), encoding="utf-8") as f:
        config = json.load(f)
    for key, value, says in (("num_hidden_layers", "four", "compare config.json"), ("head_dim", 1 << 16, "report the model")):
        with open(os.path.join(bad, "config.json"), "w", encoding="utf-8") as f:
            json.dump({**config, key: value}, f)
        text = refused(3, "", "explain", bad, "--quiet")
        check(says in text, f"a config with {key} {value}", text)


def undecided(folder):
    """A key that implementations of a family read in different ways. Kills: one of them taken in silence."""
    path, golden = os.path.join(folder, "undecided"), os.path.join(GOLDEN, "deepseek_v2_lite")
    os.mkdir(path)
    os.symlink(os.path.join(golden, "model.safetensors"), os.path.join(path, "model.safetensors"))
    with open(os.path.join(golden, "config.json"), encoding="utf-8") as f:
        config = json.load(f)
    for norm in (True, False):
        with open(os.path.join(path, "config.json"), "w", encoding="utf-8") as f:
            json.dump({**config, "norm_topk_prob": norm}, f)
        if norm:
            refused(1, "norm_topk_prob is true: of DeepSeek V2, transformers ignores it", "explain", path, "--quiet")
        else:
            sinter("explain", path, "--quiet")


def unlike_experts(folder):
    """Experts of one layer that are not stored alike: what differs is said. Kills: a difference in scales told of the weights."""
    path = os.path.join(folder, "unlike-")
    for name, change, says in (("", lambda t: t, None),
                               ("scale_inv", lambda t: Tensor("BF16", t.shape, b"".join(t.raw[i + 2:i + 4] for i in range(0, len(t.raw), 4))),
                                "scales of the type bf16, not f32"),
                               ("weight", lambda t: Tensor(t.kind, [t.shape[0] // 2, t.shape[1]], t.raw[:len(t.raw) // 2]), "another shape as")):
        config, tensors = read_folder(os.path.join(GOLDEN, "q_qwen3_moe_fp8_block"))
        for key in tensors:
            if name and re.search(r"layers\.1\.mlp\.experts\.2\.up_proj\..*" + name + "$", key):
                tensors[key] = change(tensors[key])
        write_folder(path + name, config, tensors)
        if says:
            refused(3, says, "explain", path + name, "--quiet")
        else:
            sinter("explain", path + name, "--quiet")


def contradictions(folder):
    """Weights and configuration that do not belong together. Kills: a trained head that is left out in silence; a head that is there
    twice, refused; a file of the checkpoint that was not fetched, blamed on the path."""
    path = os.path.join(folder, "contradiction-")
    config, tensors = read_folder(os.path.join(GOLDEN, "smollm2"))
    table = tensors["model.embed_tokens.weight"]
    for name, raw in (("none", None), ("same", table.raw), ("other", table.raw[:-1] + bytes([table.raw[-1] ^ 1]))):
        write_folder(path + name, config, {**tensors, **({"lm_head.weight": Tensor(table.kind, table.shape, raw)} if raw else {})})
    check(logits(path + "none", [1, 2])[1] == logits(path + "same", [1, 2])[1], "a tied model ships its head all the same")
    refused(3, "'lm_head.weight' is another matrix", "explain", path + "other", "--quiet")
    write_folder(path + "shards", config, tensors)
    os.rename(path + "shards/model.safetensors", path + "shards/model-1-of-2.safetensors")
    names = {n: f"model-{1 + (n == 'model.norm.weight')}-of-2.safetensors" for n in tensors}
    with open(path + "shards/model.safetensors.index.json", "w", encoding="utf-8") as f:
        json.dump({"weight_map": names}, f)
    text = refused(1, "a file of the checkpoint is missing", "explain", path + "shards", "--quiet")
    check("fetch it" in text and "model-2-of-2.safetensors" in text, "the missing file is named", text)
    write_folder(path + "method", {**config, "quantization_config": {"bits": 4}}, tensors)
    refused(3, "does not name its quant_method", "explain", path + "method", "--quiet")
    text = refused(1, "without a tokenizer", "perplexity", path + "none", os.path.join(ROOT, "README.md"), "--quiet")
    check("tokenizer.json" in text and "pass ids" in text, "a folder without a tokenizer", text)


def kept(folder):
    """A result never takes the place of the model that it is of. Kills: a checkpoint that is an artifact afterwards; an artifact that is
    cut off while it is mapped."""
    path, file, artifact = (os.path.join(folder, name) for name in ("kept", "kept.gguf", "kept.sinter"))
    shutil.copytree(LLAMA, path)
    shutil.copy(os.path.join(GOLDEN, "gguf_llama", "Q4_0.gguf"), file)
    sinter("compile", LLAMA, "-o", artifact, "--quiet")
    link = os.path.join(folder, "kept-link")
    os.symlink(file, link)
    sizes = [os.path.getsize(p) for p in (file, artifact, path + "/model.safetensors")]
    for model, out in ((file, file), (file, link), (link, file), (path, path + "/model.safetensors"), (path, path + "/config.json")):
        refused(2, "the checkpoint's own file", "compile", model, "-o", out)
    for model, out in ((file, file), (artifact, artifact), (path, path + "/model.safetensors")):
        refused(2, "-o would be written over the model", "logits", model, "--ids", "1,2", "-o", out)
    refused(2, "--loads would be written over", "run", artifact, *IDS, "--loads", artifact)
    check(sizes == [os.path.getsize(p) for p in (file, artifact, path + "/model.safetensors")], "models are what they were")
    for _ in range(2):
        sinter("compile", path, "-o", path + "/own.sinter", "--quiet")
        sinter("logits", path, "--ids", "1,2", "-o", path + "/own.npy", "--quiet")


def left_behind(folder):
    """Files that a copy of the programs, or of a cached artifact, came without. Kills: a remedy that speaks of the model's path."""
    bare, cache = os.path.join(folder, "left-behind"), os.path.join(folder, "left-behind-cache")
    os.mkdir(bare)
    for name in ("sinter", "libsinter_rt.so"):
        shutil.copy(os.path.join(ROOT, "build", name), bare)
    env = {"LD_LIBRARY_PATH": bare, "SINTER_CACHE": cache}
    kept = sinter("compile", LLAMA, "--quiet", env={"SINTER_CACHE": cache}).decode().strip()
    run = subprocess.run([os.path.join(bare, "sinter"), "run", LLAMA, *map(str, IDS)], capture_output=True, text=True, env={**os.environ, **env})
    check(run.returncode == 5 and "the compiler library cannot be opened" in run.stderr and "try: run ./setup" in run.stderr,
          "a missing compiler library is named", run.stderr)
    run = subprocess.run([os.path.join(bare, "sinter"), "run", kept, *map(str, IDS)], capture_output=True, text=True, env={**os.environ, **env})
    check(run.returncode == 0, "artifacts run without it", run.stderr)
    shutil.copy(kept, os.path.join(bare, "copied.sinter"))
    said = refused(1, "the weights cannot be opened", "run", os.path.join(bare, "copied.sinter"), *IDS)
    check("compile it with -o" in said, "an artifact without its weights: how to copy one", said)


def tables():
    """Without --json results are for people, with it JSON. Kills: a document printed raw; an answer in a form that was not asked for."""
    for command in (["cache", "why", LLAMA], ["cache", "verify"], ["cache", "gc"], ["inspect", LLAMA, "--quiet"], ["doctor"]):
        text = sinter(*command).decode()
        check(text and "{" not in text, f"{' '.join(command)[:20]} is a table", text[:300])
        check(isinstance(sinter_json(*command), dict), f"{' '.join(command)[:20]} --json")
    check(sinter("cache", "why", LLAMA).startswith(b"hit "), "cache why: a hit")
    check(b" differs in\n   without " in sinter("cache", "why", LLAMA, "--without", "act_mul,epilogue"), "cache why: what differs")
    refused(2, "--json does not belong", "chat", LLAMA, "--json")
    with open(os.path.join(ROOT, "docs", "environment.md"), encoding="utf-8") as f:
        page = f.read()
    manual = sinter("help", "man").decode()
    names = re.findall(r"^\.B (\w+)$", manual.split(".SH ENVIRONMENT")[1].split(".SH")[0], re.M)
    check(len(names) > 4 and all(f"`{n}`" in page for n in names), "the man page's variables are those of docs/environment.md", names)
    check(all(f".SH {x}" in manual for x in ("FILES", "EXIT STATUS", "EXAMPLES")), "the man page has its parts")
    for script in ("setup", "check", "demo"):
        run = subprocess.run([os.path.join(ROOT, script), "--help"], capture_output=True, text=True, timeout=20)
        check(run.returncode == 0 and f"./{script} " in run.stdout, f"./{script} --help", run.stdout + run.stderr)


def all_of_them(folder):
    artifacts(folder)
    not_finite(folder)
    before_work(folder)
    alone()
    port_of_choice()
    help_texts()
    remedies(folder)
    undecided(folder)
    unlike_experts(folder)
    contradictions(folder)
    kept(folder)
    left_behind(folder)
    tables()
