#!/usr/bin/env python3
"""How well the cost model of the passes predicts: time of every kernel of a decode and of a prefill step, alone, beside what
passes/cost.c expects, over four models; as rank correlation (Spearman).

   bench/kernel_costs.py [-t 2] [-r 5] [--keep FILE]    measures, shows, and keeps what it measured
   bench/kernel_costs.py --check FILE                   nothing is timed: times of FILE against what is expected today
   bench/kernel_costs.py --check FILE --table           the same, every kernel with it

Exits with 1 when a correlation is below 0.8, or when fewer than half of the kernels of FILE are found among today's. The
models are smollm2 and gemma3, a mixture with latent attention and a hybrid of gated delta nets (make_deepseek.py, make_hybrid.py)."""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
SINTER = os.path.join(os.path.dirname(HERE), "build", "sinter")
LEAST, FOUND = 0.8, 0.75
MADE = {"latent mixture": ["make_deepseek.py", "--experts", "16", "--used", "4", "--shared", "1", "--layers", "4"],
        "hybrid": ["make_hybrid.py", "--layers", "4"]}


def output(command):
    run = subprocess.run(command, capture_output=True, text=True, errors="replace")
    if run.returncode:
        raise SystemExit(f"{' '.join(command)}: exit {run.returncode}: {run.stderr.strip()[-400:]}")
    return run.stdout


def models(temp, sparse):
    """(name, path) of each; made ones with a hole for weights when nothing is run."""
    for name in ("smollm2", "gemma3"):
        yield name, output([SINTER, "models", "path", name, "--quiet"]).strip()
    for name, (script, *options) in MADE.items():
        path = os.path.join(temp, name.replace(" ", "_"))
        output([sys.executable, os.path.join(HERE, script), path, *options, *(["--sparse"] if sparse else [])])
        yield name, path


def expected(path):
    """Kernels of explain by what they are: rule and ops, in order of appearance; ns of one row and of 512."""
    kernels = json.loads(output([SINTER, "explain", path, "--json", "--quiet"]))["kernels"]
    return {k["name"]: {"decode": k["decode_ns"] / 1e3, "prefill": k["prefill_ns"] / 1e3, "ops": k["ops"]} for k in kernels}


def measure(args):
    with tempfile.TemporaryDirectory() as temp:
        for name, path in models(temp, False):
            out = json.loads(output([SINTER, "bench", path, "--kernels", "-t", str(args.threads), "-r", str(args.repeat), "--json",
                                     "--quiet"]))
            for k in out["kernels"]:
                yield {"model": name, "step": k["step"], "group": k["group"], "rule": k["rule"], "ops": k["ops"], "count": k["count"],
                       "us": round(k["us"], 2), "expected_us": round(k["expected_us"], 2), "roof_pct": k["roof_pct"]}


def expect_again(samples):
    """The samples with what is expected today; kernels that are no longer made are left out."""
    with tempfile.TemporaryDirectory() as temp:
        today = {name: expected(path) for name, path in models(temp, True)}
    for s in samples:
        now = today[s["model"]].get(s["group"])
        if now and now["ops"] == s["ops"]:
            yield {**s, "expected_us": now[s["step"]]}


def ranks(values):
    """Ranks from 1; equal values share the mean of theirs."""
    order = sorted(range(len(values)), key=lambda i: values[i])
    out = [0.0] * len(values)
    i = 0
    while i < len(order):
        j = i
        while j + 1 < len(order) and values[order[j + 1]] == values[order[i]]:
            j += 1
        for k in order[i:j + 1]:
            out[k] = (i + j) / 2 + 1
        i = j + 1
    return out


def spearman(samples):
    return statistics.correlation(ranks([s["us"] for s in samples]), ranks([s["expected_us"] for s in samples]))


def table(samples):
    print("| step | model | kernel | each of | us | expected | of roof |\n|---|---|---|---|---|---|---|")
    for s in sorted(samples, key=lambda s: (s["step"], s["us"])):
        name = (s["rule"] + ": " if s["rule"] else "") + " ".join(s["ops"])
        print(f"| {s['step']} | {s['model']} | {name[:70]} | {s['count']} | {s['us']:.2f} | {s['expected_us']:.2f} | {s['roof_pct']:.0f} % |")
    print()


def judge(samples):
    failures = 0
    for step in ("decode", "prefill"):
        mine = [s for s in samples if s["step"] == step]
        parts = ", ".join(f"{m} {spearman([s for s in mine if s['model'] == m]):.2f}" for m in dict.fromkeys(s["model"] for s in mine))
        rho = spearman(mine)
        failures += rho < LEAST
        print(f"{step}: rank correlation {rho:.3f} over {len(mine)} kernels ({parts})")
    return failures


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("-t", "--threads", type=int, default=2)
    p.add_argument("-r", "--repeat", type=int, default=5)
    p.add_argument("--keep", help="JSON file to write")
    p.add_argument("--check", help="JSON file to read")
    p.add_argument("--table", action="store_true")
    args = p.parse_args()
    if args.check:
        with open(args.check, encoding="utf-8") as f:
            kept = json.load(f)
        samples = list(expect_again(kept))
        print(f"{len(samples)} of {len(kept)} kernels are made today")
        lost = len(samples) < FOUND * len(kept)
    else:
        samples = list(measure(args))
        lost = False
    if args.keep:
        with open(args.keep, "w", encoding="utf-8") as f:
            f.write("[" + ",\n".join(json.dumps(s) for s in samples) + "]\n")
    if args.table or not args.check:
        table(samples)
    failures = judge(samples)
    if lost:
        print("too few of them to judge by: measure again", file=sys.stderr)
    sys.exit(1 if failures or lost else 0)


main()
