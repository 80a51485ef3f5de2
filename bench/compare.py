#!/usr/bin/env python3
"""Sinter beside a peer, interleaved, as medians of ratios.

   bench/compare.py --llama-bench PATH/llama-bench [--batched PATH/llama-batched-bench] [-t 2] [--rounds 5] MODEL.gguf

Each round runs the peer and then Sinter for every test, so that both see the same minutes of the machine; the ratio of a
round is Sinter / peer. The peer is built natively outside this repository and passed by path."""
import argparse
import json
import os
import statistics
import subprocess

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def run(command):
    out = subprocess.run(command, capture_output=True, text=True)
    if out.returncode:
        raise SystemExit(f"{' '.join(command)}: exit {out.returncode}\n{out.stderr[-2000:]}")
    return out.stdout


def llama_bench(args, prompt, generate, depth):
    best = 0
    for flash in ("0", "1") if depth else ("1",):
        out = json.loads(run([args.llama_bench, "-m", args.model, "-t", str(args.threads), "-fa", flash, "-r", "2", "-o", "json",
                              "-p", str(prompt), "-n", str(generate), "-d", str(depth)]))
        best = max(best, out[0]["avg_ts"])
    return best


def llama_batched(args, prompt, generate, batch):
    out = run([args.batched, "-m", args.model, "-c", str((prompt + generate) * batch + 512), "-b", "2048", "-ub", "512", "-npp",
               str(prompt), "-ntg", str(generate), "-npl", str(batch), "-t", str(args.threads), "-tb", str(args.threads), "-fa", "on",
               "--output-format", "jsonl"])
    rows = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    return rows[-1]["speed_tg"]


def sinter(args, prompt, generate, depth, batch):
    out = json.loads(run([os.path.join(ROOT, "build", "sinter"), "bench", args.model, "-t", str(args.threads), "-p", str(prompt),
                          "-n", str(generate), "-d", str(depth), "-b", str(batch), "-r", "2", "--json", "--quiet"]))
    r = out["results"][0]
    return r["tok_s"], r["limit_pct"]


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("model")
    p.add_argument("--llama-bench", required=True)
    p.add_argument("--batched")
    p.add_argument("-t", "--threads", type=int, default=2)
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--only", default="", help="comma-separated test names")
    p.add_argument("--json", action="store_true")
    args = p.parse_args()
    tests = {
        "decode 128": (lambda: llama_bench(args, 0, 128, 0), lambda: sinter(args, 0, 128, 0, 1)),
        "prefill 512": (lambda: llama_bench(args, 512, 0, 0), lambda: sinter(args, 512, 0, 0, 1)),
        "decode at 2048": (lambda: llama_bench(args, 0, 32, 2048), lambda: sinter(args, 0, 32, 2048, 1)),
    }
    if args.batched:
        tests["16 sequences"] = (lambda: llama_batched(args, 128, 64, 16), lambda: sinter(args, 0, 64, 128, 16))
    rows = {name: [] for name in tests if not args.only or name in args.only.split(",")}
    for _ in range(args.rounds):
        for name, samples in rows.items():
            peer = tests[name][0]()
            ours, share = tests[name][1]()
            samples.append((peer, ours, share))
    result = []
    for name, samples in rows.items():
        result.append({"test": name, "peer_tok_s": statistics.median(s[0] for s in samples),
                       "sinter_tok_s": statistics.median(s[1] for s in samples),
                       "ratio": statistics.median(s[1] / s[0] for s in samples),
                       "limit_pct": statistics.median(s[2] for s in samples)})
    if args.json:
        print(json.dumps(result))
        return
    print(f"{'test':16} {'llama.cpp':>10} {'Sinter':>10} {'ratio':>7} {'of limit':>9}")
    for r in result:
        print(f"{r['test']:16} {r['peer_tok_s']:10.1f} {r['sinter_tok_s']:10.1f} {r['ratio']:7.2f} {r['limit_pct']:7.1f} %")


main()
