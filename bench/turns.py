#!/usr/bin/env python3
"""What each fusion gives on one model, in small differences: builds with and without it decode, and read prompts, in turns in one
process (alternate.c), so that both see the same tenths of a second of the machine.

   bench/turns.py MODEL [-t 2] [--seconds 30] [--prompt 128] [--off NAME,…|all] [--only decode|prefill] [--under COMMAND]
                  [--samples FILE] [--assert]

Shown is what leaving a fusion out costs (positive: the fusion helps): the median over rounds, its 95 % interval, and the quartiles of
the rounds; beside it the launches of a token and of the prompt, and the KB that kernels read and write for a token and for 512
rows, which are exact. All builds have one file of weights, so that where memory lies is no difference. --under puts a command in front
of every measurement (of --seconds for each fusion and row). --samples FILE keeps results as JSON lines, and shows what it holds
for all rows that are not measured now. --assert exits with 1 when all together give less than 6 % of decode, or when one that is on
by default loses more than 1 % (median and interval)."""
import argparse
import json
import os
import shlex
import subprocess
import sys

from ablation import SINTER, fusions, leaving_out, output

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
ALTERNATE = os.path.join(ROOT, "build", "alternate")
ROWS = ("decode", "prefill")
LEAST_ALL, MOST_LOSS = .06, .01


def build_alternate():
    if os.path.exists(ALTERNATE) and os.path.getmtime(ALTERNATE) > os.path.getmtime(os.path.join(ROOT, "bench", "alternate.c")):
        return
    output(["cc", "-O2", "-I" + os.path.join(ROOT, "include"), os.path.join(ROOT, "bench", "alternate.c"), "-L" + os.path.join(ROOT, "build"),
            "-lsinter_rt", "-Wl,-rpath," + os.path.join(ROOT, "build"), "-o", ALTERNATE])


def compiled(model, without):
    """The artifact in the cache."""
    return output([SINTER, "compile", model, "--quiet", *leaving_out(without)]).strip()


def launches(model, without, tokens):
    ids = ",".join(str(1 + i * 37 % 1000) for i in range(tokens))
    return json.loads(output([SINTER, "logits", model, "--ids", ids, "-o", os.devnull, "--json", "--quiet", *leaving_out(without)]))["launches"]


def kilobytes(model, without):
    """Read and written by the kernels of a token, and of 512 rows."""
    kernels = json.loads(output([SINTER, "explain", model, "--json", "--quiet", *leaving_out(without)]))["kernels"]
    return [sum(k[step + "_bytes"] for k in kernels) / 1e3 for step in ("decode", "prefill")]


def exact(model, without, prompt):
    return [launches(model, without, 1), launches(model, without, prompt), *kilobytes(model, without)]


def alternate(args, row, builds):
    """Cost of the builds behind the first one: median, half of its 95 % interval, quartiles, rounds."""
    command = [*shlex.split(args.under), ALTERNATE, "-s", str(args.seconds * (len(builds) - 1)), "-t", str(args.threads),
               *(["-p", str(args.prompt)] if row == "prefill" else []), *builds]
    for line in output(command).splitlines():
        r = json.loads(line)
        half = 1.57 * (r["high"] - r["low"]) / r["rounds"] ** .5
        yield {"median": r["ratio"] - 1, "half": half, "low": r["low"] - 1, "high": r["high"] - 1, "rounds": r["rounds"], "tok_s": r["tok_s"]}


def measure(args, names, every):
    """Three builds beside the default one at a time: a round stays short."""
    default = compiled(args.model, None)
    builds = {name: compiled(args.model, every if name == "all" else [name]) for name in names}
    for row in [r for r in ROWS if args.only in ("", r)]:
        for i in range(0, len(names), 3):
            some = names[i:i + 3]
            for name, cost in zip(some, alternate(args, row, [default, *(builds[n] for n in some)])):
                yield {"model": args.model, "off": name, "row": row, **cost}


def show(model, samples, table):
    """Lines of the table, and what does not hold."""
    failures = []
    print("| left out | launches, token and prompt | KB, token and 512 rows | costs of decode | quartiles | of prefill | quartiles |\n|---|---|---|---|---|---|---|")
    for name, counts in table.items():
        cells = [f"{counts[0]:+d}, {counts[1]:+d}", f"{counts[2]:+.0f}, {counts[3]:+.0f}"]
        for row in ROWS:
            s = next((s for s in reversed(samples) if (s["model"], s["off"], s["row"]) == (model, name, row)), None)
            if not s:
                cells += ["–", "–"]
                continue
            cells += [f"{100 * s['median']:+.1f} ± {100 * s['half']:.1f} %", f"{100 * s['low']:+.1f}, {100 * s['high']:+.1f}"]
            if name == "all" and row == "decode" and s["median"] < LEAST_ALL:
                failures.append(f"all fusions give {100 * s['median']:.1f} % of decode, less than {100 * LEAST_ALL:.0f} %")
            if name != "all" and s["median"] + s["half"] < -MOST_LOSS:
                failures.append(f"{name} loses {-100 * s['median']:.1f} % of {row}")
        print(f"| {'all' if name == 'all' else '`' + name + '`'} | " + " | ".join(cells) + " |")
    return failures


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("model")
    p.add_argument("-t", "--threads", type=int, default=2)
    p.add_argument("--seconds", type=int, default=30, help="of each fusion and row")
    p.add_argument("--prompt", type=int, default=128, help="tokens of a prompt")
    p.add_argument("--off", default="", help="fusions to leave out, or all; default: every one, and all")
    p.add_argument("--only", default="", choices=("", *ROWS))
    p.add_argument("--under", default="", help="a command in front of every measurement")
    p.add_argument("--samples", help="JSON lines; added to, and shown")
    p.add_argument("--assert", action="store_true", dest="strict")
    args = p.parse_args()
    build_alternate()
    fired, every = fusions(args.model)
    names = [n for n in (*fired, "all") if not args.off or n in args.off.split(",")]
    base = exact(args.model, None, args.prompt)
    table = {name: [got - b for got, b in zip(exact(args.model, every if name == "all" else [name], args.prompt), base)] for name in names}
    samples = []
    if args.samples and os.path.exists(args.samples):
        with open(args.samples, encoding="utf-8") as f:
            samples = [json.loads(line) for line in f]
    for s in measure(args, names, every) if args.seconds else ():
        samples.append(s)
        if args.samples:
            with open(args.samples, "a", encoding="utf-8") as f:
                f.write(json.dumps(s) + "\n")
    print(f"with all: {base[0]} launches of a token, {base[1]} of {args.prompt}, {base[2]:.0f} and {base[3]:.0f} KB\n")
    failures = show(args.model, samples, table)
    for f in failures:
        print("does not hold:", f, file=sys.stderr)
    sys.exit(1 if failures and args.strict else 0)


main()
