#!/usr/bin/env python3
"""What each fusion gives: every one switched off, one at a time and all together, beside the default build.

   bench/ablation.py [--llama PATH/bin] [-t 2] [--rounds 5] [--off NAME,…|all] [--samples FILE] [--assert] [MODEL…]

In each round the default build runs a row right before and right after the build without a fusion, and the ratio of a round is
without / mean of both; shown is what leaving the fusion out costs (positive: the fusion helps), as the median over rounds with
the smallest and largest beside it, and how many launches and kilobytes of planned reads and writes a decoded token has more without
it. With --llama the build without any fusion runs beside the peer too. --assert exits with 1
when all together give less than 8 % of decode, when one that is on by default loses more than 1 % anywhere (its whole range of
rounds on that side), or when the build without fusions is slower than the peer."""
import argparse
import json
import os
import statistics
import sys

from compare import SINTER, Llama, TESTS, output, timed

ROWS = ("decode 128", "prefill 512", "16 sequences", "first token")
LEAST_ALL, MOST_LOSS = .08, .01
RUNS = 5  # processes a sample of the first token


def fusions(model):
    """Names that change something on this model, and every name."""
    rows = json.loads(output([SINTER, "explain", model, "--json", "--quiet"]))["fusions"]
    return [r["name"] for r in rows if r["fired"]], [r["name"] for r in rows]


def leaving_out(without):
    return ["--without", ",".join(without)] if without else []


def launches(path, without):
    """Of one token."""
    return json.loads(output([SINTER, "logits", path, "--ids", "1", "-o", os.devnull, "--json", "--quiet", *leaving_out(without)]))["launches"]


def sample(args, path, row, without):
    """Speed, more is better: tokens/s, or starts/s; and the bytes of a token."""
    off = leaving_out(without)
    if row == "first token":
        command = [SINTER, "run", path, "--ids", "1,2,3,4,5", "-n", "1", "--ignore-eos", "-t", str(args.threads), "--quiet", *off]
        output(command)
        return 1 / statistics.median(timed(command)["seconds"] for _ in range(RUNS)), 0
    t = TESTS[row]
    out = output([SINTER, "bench", path, "-t", str(args.threads), "-p", str(t["prompt"]), "-n", str(t["generate"]), "-d",
                  str(t["depth"]), "-b", str(t["batch"]), "-r", str(args.reps), "--json", "--quiet", *off])
    result = json.loads(out)["results"][0]
    return result["tok_s"], result["bytes"]


def one_round(args, model, path, wanted):
    fired, every = fusions(path)
    llama = Llama(args) if args.llama else None
    fewest = launches(path, None)
    for row in [r for r in ROWS if not args.only or r in args.only.split(",")]:
        before, least = sample(args, path, row, None)
        for name in [n for n in (*fired, "all") if not wanted or n in wanted]:
            without = every if name == "all" else [name]
            got, bytes_read = sample(args, path, row, without)
            after, _ = sample(args, path, row, None)
            r = {"model": model, "row": row, "off": name, "ratio": 2 * got / (before + after),
                 "launches": launches(path, without) - fewest, "bytes": bytes_read - least}
            if name == "all" and llama and row in ("decode 128", "prefill 512"):
                r["peer"] = got / llama.test(path, TESTS[row])["tok_s"]
            yield r
            before = after


def cost(samples):
    """Median, least and largest cost of leaving it out."""
    values = [1 / s["ratio"] - 1 for s in samples]
    return statistics.median(values), min(values), max(values)


def show(samples):
    groups, failures, rows = {}, [], []
    for s in samples:
        groups.setdefault((s["model"], s["off"]), {}).setdefault(s["row"], []).append(s)
    rows_shown = [row for row in ROWS if any(s["row"] == row for s in samples)]
    print("| model | fusion | launches | KB | " + " | ".join(rows_shown) + " |\n|---|---|---|---|" + "---|" * len(rows_shown))
    for (model, name), by_row in groups.items():
        of_token = by_row.get("decode 128", [{}])[0]
        cells = [f"{of_token[key] * scale:+.0f}" if key in of_token else "–" for key, scale in (("launches", 1), ("bytes", 1e-3))]
        for row in rows_shown:
            if row not in by_row:
                cells.append("–")
                continue
            mid, low, high = cost(by_row[row])
            cells.append(f"{100 * mid:+.1f} % [{100 * low:+.1f}, {100 * high:+.1f}]")
            if name == "all" and row == "decode 128" and mid < LEAST_ALL:
                failures.append(f"{model}: all fusions give {100 * mid:.1f} % of decode, less than {100 * LEAST_ALL:.0f} %")
            if name != "all" and mid < -MOST_LOSS and high < 0:
                failures.append(f"{model}: {name} loses {-100 * mid:.1f} % of {row}")
        print(f"| {model} | {name} | " + " | ".join(cells) + " |")
        rows += [(model, row, [s["peer"] for s in by_row[row] if "peer" in s]) for row in ROWS if row in by_row]
    for model, row, ratios in rows:
        if ratios:
            print(f"\n{model}, {row}, without any fusion: {statistics.median(ratios):.2f}× llama.cpp")
            if statistics.median(ratios) <= 1:
                failures.append(f"{model}: without fusions {row} is slower than the peer")
    return failures


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("models", nargs="*", default=["smollm2", "gemma3"])
    p.add_argument("--llama")
    p.add_argument("-t", "--threads", type=int, default=2)
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--reps", type=int, default=2, help="repetitions within a round")
    p.add_argument("--only", default="", help="rows: " + ", ".join(ROWS))
    p.add_argument("--off", default="", help="fusions to leave out, or all; default: every one, and all")
    p.add_argument("--samples", help="JSON lines; added to, and shown as a whole")
    p.add_argument("--assert", action="store_true", dest="strict")
    args = p.parse_args()
    samples = []
    if args.samples and os.path.exists(args.samples):
        with open(args.samples, encoding="utf-8") as f:
            samples = [json.loads(line) for line in f]
    for _ in range(args.rounds):
        for model in args.models:
            path = model if os.path.exists(model) else output([SINTER, "models", "path", model, "--quiet"]).strip()
            for s in one_round(args, os.path.basename(model).removesuffix(".gguf"), path, set(filter(None, args.off.split(",")))):
                samples.append(s)
                if args.samples:
                    with open(args.samples, "a", encoding="utf-8") as f:
                        f.write(json.dumps(s) + "\n")
    if not samples:
        raise SystemExit("nothing was measured: --rounds 0 needs --samples FILE of earlier rounds")
    failures = show(samples)
    for f in failures:
        print("does not hold:", f, file=sys.stderr)
    sys.exit(1 if failures and args.strict else 0)


if __name__ == "__main__":
    main()
