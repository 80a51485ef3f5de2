"""Tests that others wrote for servers, of ./check --long: those of llama.cpp's server through a shim (llama_shim.py), and lm-eval against
/v1/completions. Both are fetched when they run; nothing of them is kept here but what passes (tests/data/llama_server.tsv)."""
import collections
import glob
import hashlib
import re
import subprocess
import sys
import tarfile
import xml.etree.ElementTree

from server import *  # noqa: F403

PEERS = os.path.join(ROOT, "build", "peers")
LLAMA = ("llama-cpp-python", "0.3.36", "832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e")
LLAMA_NEEDS = ["pytest==8.3.5", "filelock==3.16.1", "requests==2.32.5", "wget==3.2", "openai==3.57.0", "aiohttp==3.14.0", "numpy==2.2.6"]
LM_EVAL = ["lm_eval[api]==0.4.13", "transformers==4.57.3"]
ROWS = os.path.join(ROOT, "tests", "data", "llama_server.tsv")
LEAST_CASES = 60


def pip(*args):
    run = subprocess.run([sys.executable, "-m", "pip", *args], capture_output=True, text=True)
    check(run.returncode == 0, f"pip {' '.join(args)[:80]}", run.stderr[-600:])
    return run.returncode == 0


def installed(folder, packages):
    """A folder with packages of PyPI, made once."""
    path = os.path.join(PEERS, folder)
    mark = os.path.join(path, ".complete")
    if not os.path.exists(mark):
        if not pip("install", "-q", "--root-user-action=ignore", "--no-compile", "--target", path, *packages):
            return None
        with open(mark, "w", encoding="utf-8"):
            pass
    return path


def llama_sources():
    """vendor/llama.cpp of the source package, or None."""
    name, version, digest = LLAMA
    stem = f"{name.replace('-', '_')}-{version}"
    file = os.path.join(PEERS, stem + ".tar.gz")
    if not os.path.exists(file):
        os.makedirs(PEERS, exist_ok=True)
        # pip looks into the package by what builds it: that may come built, or CMake itself would be compiled here.
        if not pip("download", "-q", "--no-deps", "--no-binary", name, "-d", PEERS, f"{name}=={version}"):
            return None
    with open(file, "rb") as f:
        actual = hashlib.sha256(f.read()).hexdigest()
    check(actual == digest, "the source package of llama-cpp-python is the one that is known", actual)
    if actual != digest:
        return None
    top = os.path.join(PEERS, stem, "vendor", "llama.cpp")
    with tarfile.open(file) as t:
        wanted = re.compile(re.escape(f"{stem}/vendor/llama.cpp/") + "(tools/server/tests|models/templates)/")
        t.extractall(PEERS, [m for m in t.getmembers() if wanted.match(m.name) and m.isfile()])  # Python 3.11.2 of Debian 12 knows no filter; the digest is known
    return top


def rows():
    """(file, test) to how many of its cases pass; every row with fewer than all says why."""
    table = {}
    with open(ROWS, encoding="utf-8") as f:
        for line in f:
            if not line.startswith("#"):
                file, test, passing, why = line.rstrip("\n").split("\t")
                table[file, test] = (int(passing), why)
    return table


def llama():
    top, python = llama_sources(), installed("llama-tests", LLAMA_NEEDS)
    if not top or not python:
        return
    table, report = rows(), os.path.join(TEMP.name, "llama.xml")
    files = sorted({file for (file, _), (passing, _) in table.items() if passing})
    tests = os.path.join(top, "tools", "server", "tests")
    # Of the lowest level, which every machine runs: what is drawn, and so which answers end early, is then the same everywhere.
    known = os.path.join(TEMP.name, "smollm2.sinter")
    sinter("compile", "smollm2", "--target", "cpu:x86-64-v3", "-o", known, "-q")
    env = {**os.environ, "PYTHONPATH": python, "PORT": str(free_port()), "SINTER": SINTER, "SHIM_MODEL": known, "SHIM_FOLDER": SMALL, "SHIM_EMBEDDINGS": "smollm2",
           "LLAMA_SERVER_BIN_PATH": os.path.join(ROOT, "tests", "e2e", "llama_shim.py")}
    run = subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not slow", f"--junitxml={report}",
                          *(f"unit/{f}" for f in files)], cwd=tests, env=env, capture_output=True, text=True, timeout=3000)
    if not os.path.exists(report):
        return check(False, "llama.cpp's tests run", run.stdout[-800:] + run.stderr[-800:])
    with open(os.path.join(ROOT, "build", "peers", "llama.log"), "w", encoding="utf-8") as f:
        f.write(run.stdout)
    passes, all_ = collections.Counter(), collections.Counter()
    for case in xml.etree.ElementTree.parse(report).iter("testcase"):
        key = case.get("classname").split(".")[-1] + ".py", case.get("name").split("[")[0]
        all_[key] += 1
        passes[key] += not any(c.tag in ("failure", "error", "skipped") for c in case)
    for key, (passing, why) in table.items():
        if key[0] in files:
            check(passes[key] == passing, f"llama.cpp's {key[0]} {key[1]}: {passing} of {all_[key]} pass", passes[key])
            check((passing == all_[key]) == (why == "all") and why, f"llama.cpp's {key[0]} {key[1]}: a reason", all_[key])
    check(not set(all_) - set(table), "every test of llama.cpp's has its row", set(all_) - set(table))
    here = {os.path.basename(f) for f in glob.glob(os.path.join(tests, "unit", "test_*.py"))}
    check(here == {file for file, _ in table}, "every file of llama.cpp's tests has rows", here ^ {file for file, _ in table})
    check(sum(passes.values()) >= LEAST_CASES, f"at least {LEAST_CASES} cases of llama.cpp's pass", sum(passes.values()))


# ---- lm-eval ----

TASK = """task: slice
dataset_path: json
dataset_kwargs: {data_files: {test: %s}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{question}}"
doc_to_choice: "{{choices}}"
doc_to_target: answer
target_delimiter: " "
metric_list: [{metric: acc}, {metric: acc_norm}]
"""
QUESTIONS = [("the", ["sun", "moon rises", "end of it all"], 0), ("once upon a", ["time", "hill there was", "table"], 0),
             ("one two", ["three", "3", "four"], 2), ("A colour:", ["red", "loud", "seven"], 1), ("In the beginning", ["was", "is", "there"], 2),
             ("water is", ["wet", "made of stone", "?"], 0), ("north and", ["south", "so on", "east"], 1), ("x = 1; y =", ["2", "x", "z"], 1)]


def score(folder, context, continuation):
    """log p of a continuation, and whether it is the likeliest, from `sinter logits`."""
    whole = json.loads(sinter("tokenize", folder, "--no-bos", stdin=json.dumps(context + continuation).encode() + b"\n"))
    first = len(json.loads(sinter("tokenize", folder, "--no-bos", stdin=json.dumps(context).encode() + b"\n")))
    path = os.path.join(TEMP.name, "score.npy")
    sinter("logits", folder, "--ids", ids_text(whole), "-o", path, "--quiet")
    shape, flat = npy(path)
    total, greedy = 0.0, True
    for i in range(first, len(whole)):
        row = flat[(i - 1) * shape[1]:i * shape[1]]
        top = max(row)
        total += row[whole[i]] - top - math.log(sum(math.exp(x - top) for x in row))
        greedy &= row[whole[i]] == top
    return total, greedy


def lm_eval():
    python = installed("lm-eval", LM_EVAL)
    if not python:
        return
    folder, out = os.path.join(TEMP.name, "lm-eval"), os.path.join(TEMP.name, "lm-eval-out")
    os.makedirs(folder)
    data = os.path.join(folder, "slice.jsonl")
    with open(data, "w", encoding="utf-8") as f:
        for question, choices, answer in QUESTIONS:
            f.write(json.dumps({"question": question, "choices": choices, "answer": answer}) + "\n")
    with open(os.path.join(folder, "slice.yaml"), "w", encoding="utf-8") as f:
        f.write(TASK % json.dumps(data))
    s = Server(SMALL, "--alias", "small")
    args = f"model=small,base_url=http://127.0.0.1:{s.port}/v1/completions,tokenizer={SMALL},tokenizer_backend=huggingface,num_concurrent=4,max_length=256"
    run = subprocess.run([sys.executable, "-m", "lm_eval", "--model", "local-completions", "--model_args", args, "--tasks", "slice", "--include_path", folder,
                          "--output_path", out, "--log_samples"], capture_output=True, text=True, timeout=900,
                         env={**os.environ, "PYTHONPATH": python, "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": folder, "OPENAI_API_KEY": "x"})
    s.stop()
    results, samples = glob.glob(f"{out}/**/results_*.json", recursive=True), glob.glob(f"{out}/**/samples_*.jsonl", recursive=True)
    if run.returncode or not results or not samples:
        return check(False, "lm-eval runs", run.stderr[-1500:])
    want = [[score(SMALL, q, " " + c) for c in choices] for q, choices, _ in QUESTIONS]
    with open(samples[0], encoding="utf-8") as f:
        lines = sorted((json.loads(x) for x in f), key=lambda x: x["doc_id"])
    check(len(lines) == len(QUESTIONS), "lm-eval asked everything", len(lines))
    for line, ours, (question, _, _) in zip(lines, want, QUESTIONS):
        theirs = [(float(r[0][0]), str(r[0][1]) == "True") for r in line["resps"]]
        check(all(abs(a[0] - b[0]) < 1e-3 and a[1] == b[1] for a, b in zip(theirs, ours)), f"lm-eval: scores of {question!r}", (theirs, ours))
    acc = sum(max(range(3), key=lambda i: w[i][0]) == q[2] for w, q in zip(want, QUESTIONS)) / len(QUESTIONS)
    with open(results[0], encoding="utf-8") as f:
        got = json.load(f)["results"]["slice"]["acc,none"]
    check(abs(got - acc) < 1e-9 and 0 < acc < 1, "lm-eval: the score is the command's", (got, acc))


def run():
    llama()
    lm_eval()
