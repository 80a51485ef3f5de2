#!/usr/bin/env python3
"""What each fusion gives: every one switched off, one at a time and all together, beside the default build.

   bench/ablation.py [--llama PATH/bin] [-t 2] [--seconds 36] [--only ROW,…] [--off NAME,…|all] [--least .08] [--samples FILE] [--assert] [MODEL…]

Builds of a model run in turns, a burst each (alternate.c; the first token: a process each), from an artifact cache of their own, where they share
one file of weights but for what a fusion adds to it. Copies of one file in other pages of memory are read up to 12 % faster or slower: before
each process the files are copied, so that this is part of the error. Shown is what leaving the fusion out costs
(positive: the fusion helps), as the mean over processes of the median of bursts, and its standard error, and how many launches and
kilobytes of planned reads and writes a decoded token has more without it. "nothing" is the default build once more: what the
method makes of no difference. With --llama the build without any fusion runs beside the peer, too. --samples FILE keeps what was measured and
shows all it holds; --seconds 0 measures nothing. --assert exits with 1 when all together give less than --least of decode, when one that
is on by default loses 1 % more than "nothing" anywhere by more than two standard errors, or when the build without fusions is slower than the peer."""
import argparse
import glob
import json
import os
import shutil
import statistics
import sys

from compare import ROOT, SINTER, Llama, TESTS, output, timed

ROWS = {"decode 128": [], "prefill 512": ["-p", "512"], "16 sequences": ["-b", "16"], "first token": None}
MOST_LOSS = .01
TURNS, RUNS = 3, 12  # builds beside the default one in a run of alternate.c, and runs: where copies lie differs more than bursts
ALTERNATE = os.path.join(ROOT, "build", "alternate")
CACHE = os.path.join(ROOT, "build", "ablation")


def build_alternate():
    library = os.path.join(ROOT, "build")
    output(["cc", "-O2", "-D_GNU_SOURCE", "-I" + os.path.join(ROOT, "include"), os.path.join(ROOT, "bench", "alternate.c"), "-L" + library, "-lsinter_rt",
            "-Wl,-rpath," + library, "-o", ALTERNATE])


def token(path):
    """Launches and bytes of one token."""
    launches = json.loads(output([SINTER, "logits", path, "--ids", "1", "-o", os.devnull, "--json", "--quiet"]))["launches"]
    bench = json.loads(output([SINTER, "bench", path, "-p", "0", "-n", "4", "-r", "1", "--json", "--quiet"]))
    return {"launches": launches, "bytes": bench["results"][0]["bytes"]}


def fusions(model):
    """Names that change something on this model, and every name."""
    rows = json.loads(output([SINTER, "explain", model, "--json", "--quiet"]))["fusions"]
    return [r["name"] for r in rows if r["fired"]], [r["name"] for r in rows]


def leaving_out(without):
    return ["--without", ",".join(without)] if without else []


def builds(args, model):
    """(what is left out, artifact) of the default build, of it once more, and of those without a fusion."""
    fired, every = fusions(model)
    wanted = set(filter(None, args.off.split(",")))
    off = {"default": [], "nothing": [], **{name: [name] for name in fired}, "all": every}
    for name, without in off.items():
        if not wanted or name in ("default", "nothing", *wanted):
            yield name, output([SINTER, "compile", model, "--quiet", *leaving_out(without)]).strip()


def move_weights():
    """Weights into other pages of memory."""
    for path in glob.glob(os.path.join(CACHE, "artifacts", "weights", "*.weights")):
        shutil.copyfile(path, path + ".copy")
        os.replace(path + ".copy", path)


def spread(values):
    """Mean and its standard error."""
    return statistics.mean(values), statistics.stdev(values) / len(values) ** .5


def alternate(args, paths, options):
    """A few builds beside the default one at a time, so that a round stays short; several processes, each with the builds in another order,
    since where a process has its own memory is good for 2 %, too."""
    for i in range(1, len(paths), TURNS):
        some = paths[i:i + TURNS]
        ratios = [[] for _ in some]
        for run in range(RUNS):
            move_weights()
            order = [(run + k) % len(some) for k in range(len(some))]
            out = output([ALTERNATE, "-t", str(args.threads), "-s", str(args.seconds / RUNS), *options, paths[0], *(some[k] for k in order)])
            for k, line in zip(order, out.splitlines()):
                ratios[k].append(json.loads(line)["ratio"])
        for values in ratios:
            mid, error = spread(values)
            yield {"ratio": mid, "error": error}


def starts(args, paths):
    """Processes from exec to the end of the first token, A B A C A …"""
    def start(path):
        return timed([SINTER, "run", path, "--ids", "1,2,3,4,5", "-n", "1", "--ignore-eos", "-t", str(args.threads), "--quiet"])["seconds"]

    ratios = [[] for _ in paths[1:]]
    for _ in range(max(4, int(args.seconds / .2))):
        before = start(paths[0])
        for into, path in zip(ratios, paths[1:]):
            got, after = start(path), start(paths[0])
            into.append(2 * got / (before + after))
            before = after
    for values in ratios:
        mid, error = spread(values)
        yield {"ratio": mid, "error": error}


def peer(args, path, row):
    llama, t = Llama(args), TESTS[row]
    bench = [SINTER, "bench", path, "-t", str(args.threads), "-p", str(t["prompt"]), "-n", str(t["generate"]), "-r", str(args.reps), "--json", "--quiet"]
    ratios = [json.loads(output(bench))["results"][0]["tok_s"] / llama.test(args.gguf, t)["tok_s"] for _ in range(3)]
    return statistics.median(ratios)


def measure(args, model):
    shutil.rmtree(CACHE, ignore_errors=True)  # else every model's weights would be copied
    args.gguf = model if os.path.exists(model) else output([SINTER, "models", "path", model, "--quiet"]).strip()
    every = list(builds(args, args.gguf))
    names, paths = [n for n, _ in every], [p for _, p in every]
    of = [token(p) for p in paths]
    for row in [r for r in ROWS if not args.only or r in args.only.split(",")]:
        got = starts(args, paths) if ROWS[row] is None else alternate(args, paths, ROWS[row])
        for name, path, t, r in zip(names[1:], paths[1:], of[1:], got):
            r |= {"model": os.path.basename(model).removesuffix(".gguf"), "row": row, "off": name} | {k: t[k] - of[0][k] for k in t}
            if name == "all" and args.llama and row in ("decode 128", "prefill 512"):
                r["peer"] = peer(args, path, row)
            yield r


def cell(samples):
    """Cost and its error, of one or several measurements; of none: nothing."""
    if not samples:
        return 0, 0
    weight = [1 / max(s["error"], 1e-4) ** 2 for s in samples]
    return sum(w * (s["ratio"] - 1) for w, s in zip(weight, samples)) / sum(weight), sum(weight) ** -.5


def show(samples, least):
    groups, failures = {}, []
    for s in samples:
        groups.setdefault((s["model"], s["off"]), {}).setdefault(s["row"], []).append(s)
    rows = [row for row in ROWS if any(s["row"] == row for s in samples)]
    print("| model | left out | launches | KB | " + " | ".join(rows) + " |\n|---|---|---|---|" + "---|" * len(rows))
    for (model, name), by_row in groups.items():
        first = next(iter(by_row.values()))[0]
        cells = [f"{first['launches']:+d}", f"{first['bytes'] / 1e3:+.0f}"]
        for row in rows:
            if row not in by_row:
                cells.append("–")
                continue
            cost, error = cell(by_row[row])
            cells.append(f"{100 * cost:+.1f} ± {100 * error:.1f} %")
            if name == "all" and row == "decode 128" and cost < least:
                failures.append(f"{model}: all fusions give {100 * cost:.1f} % of decode, less than {100 * least:.0f} %")
            none, none_error = cell(groups.get((model, "nothing"), {}).get(row, [])) if name not in ("all", "nothing") else (cost, 0)
            if cost - none + 2 * (error ** 2 + none_error ** 2) ** .5 < -MOST_LOSS:
                failures.append(f"{model}: {name} loses {-100 * (cost - none):.1f} % of {row}")
        print(f"| {model} | {name} | " + " | ".join(cells) + " |")
    for s in samples:
        if "peer" in s:
            print(f"\n{s['model']}, {s['row']}, without any fusion: {s['peer']:.2f}× llama.cpp")
            if s["peer"] <= 1:
                failures.append(f"{s['model']}: without fusions {s['row']} is slower than the peer")
    return failures


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("models", nargs="*", default=["smollm2", "gemma3"])
    p.add_argument("--llama")
    p.add_argument("-t", "--threads", type=int, default=2)
    p.add_argument("--seconds", type=float, default=36, help="of a row of three builds")
    p.add_argument("--reps", type=int, default=2, help="repetitions of a run beside the peer")
    p.add_argument("--only", default="", help="rows: " + ", ".join(ROWS))
    p.add_argument("--off", default="", help="fusions to leave out, or all; default: every one, and all")
    p.add_argument("--least", type=float, default=.08, help="of decode, for all together")
    p.add_argument("--samples", help="JSON lines; added to, and shown as a whole")
    p.add_argument("--assert", action="store_true", dest="strict")
    args = p.parse_args()
    samples = []
    if args.samples and os.path.exists(args.samples):
        with open(args.samples, encoding="utf-8") as f:
            samples = [json.loads(line) for line in f]
    if args.seconds > 0:
        os.environ["SINTER_CACHE"] = CACHE
        build_alternate()
    for model in args.models if args.seconds > 0 else ():
        for s in measure(args, model):
            samples.append(s)
            if args.samples:
                with open(args.samples, "a", encoding="utf-8") as f:
                    f.write(json.dumps(s) + "\n")
    if not samples:
        raise SystemExit("nothing was measured: --seconds 0 needs --samples FILE of earlier runs")
    failures = show(samples, args.least)
    for f in failures:
        print("does not hold:", f, file=sys.stderr)
    sys.exit(1 if failures and args.strict else 0)


if __name__ == "__main__":
    main()
