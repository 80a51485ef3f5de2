#!/usr/bin/env python3
"""Sinter beside its peers, interleaved, as medians of ratios, against the floors below.

   bench/compare.py --llama PATH/bin --openvino PATH/bin/python [-t 2] [--rounds 3] [--only ROW,…] [--hog] [--assert] [MODEL…]

MODEL is a known name or a GGUF file (default: smollm2 gemma3). In each round every engine runs a row before the next row
begins, so that all see the same minutes of the machine; the ratio of a round is Sinter / peer, and what is shown is the median
over rounds. Peers are passed by path and may be absent: --llama names a folder with llama-bench and llama-batched-bench,
--openvino a Python that has openvino-genai. --hog measures while another process spins on one core. --samples FILE keeps what
was measured and shows all it holds; --rounds 0 measures nothing. --assert exits with 1 when a row is below its floor."""
import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SINTER = os.path.join(ROOT, "build", "sinter")
TESTS = {"decode 128": {"prompt": 0, "generate": 128, "depth": 0, "batch": 1},
         "prefill 512": {"prompt": 512, "generate": 0, "depth": 0, "batch": 1},
         "16 sequences": {"prompt": 0, "generate": 64, "depth": 128, "batch": 16},
         "decode at 2048": {"prompt": 0, "generate": 32, "depth": 2048, "batch": 1}}
STARTS = ("first token", "cold compile")
# Least ratio to a peer, by row and model.
FLOORS = {"decode 128": {"smollm2": {"llama.cpp": 2}, "gemma3": {"llama.cpp": 1.5}},
          "prefill 512": {"smollm2": {"llama.cpp": 4, "OpenVINO": 2}, "gemma3": {"llama.cpp": 2.4}},
          "16 sequences": {"smollm2": {"llama.cpp": 3.6, "OpenVINO": 2.5}, "gemma3": {"llama.cpp": 2.5}},
          "decode at 2048": {"smollm2": {"llama.cpp": 2.2}, "gemma3": {"llama.cpp": 1.6}}}
# Most seconds, and MiB of peak memory (for a compile: beyond the size of the model's file).
CEILINGS = {"first token": {"smollm2": (.030, 130), "gemma3": (.060, 330)},
            "cold compile": {"smollm2": (4, 150), "gemma3": (8, 150)}}
# Beside a process that spins on one core: least share of the quiet figure, and ratio to the peer under the same hog.
HOG_QUIET, HOG_PEER = .6, 3
SPIN = "import os\nos.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\nwhile True: pass"
# Shares of the machine's limit that a model without floors of its own should hold: those of this one, in the same samples.
SHARES_OF, SHARE_SLACK = "smollm2", .95


class PeerFailed(Exception):
    pass


def last_words(errors):
    return ([line.strip() for line in errors.splitlines() if line.strip(" ^~")] or ["no reason given"])[-1][-300:]


def output(command):
    run = subprocess.run(command, capture_output=True, text=True, errors="replace")
    if run.returncode:
        raise PeerFailed(f"{os.path.basename(command[0])}: exit {run.returncode}: {last_words(run.stderr)}")
    return run.stdout


def timed(command, **env):
    """Wall seconds and peak MiB of a whole process."""
    started = time.perf_counter()
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env={**os.environ, **env})
    errors = child.stderr.read()
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - started
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise PeerFailed(f"{os.path.basename(command[0])}: exit {child.returncode}: {last_words(errors.decode(errors='replace'))}")
    return {"seconds": seconds, "mib": usage.ru_maxrss / 1024}


class Sinter:
    name = "Sinter"

    def __init__(self, args):
        self.threads, self.reps = str(args.threads), str(args.reps)

    def test(self, model, t):
        out = json.loads(output([SINTER, "bench", model, "-t", self.threads, "-p", str(t["prompt"]), "-n", str(t["generate"]), "-d",
                                 str(t["depth"]), "-b", str(t["batch"]), "-r", self.reps, "--json", "--quiet"]))["results"][0]
        return {"tok_s": out["tok_s"], "share": out["limit_pct"] / 100}

    def start(self, model, row):
        if row == "first token":
            command = [SINTER, "run", model, "--ids", "1,2,3,4,5", "-n", "1", "--ignore-eos", "-t", self.threads, "--quiet"]
            output(command)
            runs = [timed(command) for _ in range(5)]
            return {k: statistics.median(r[k] for r in runs) for k in runs[0]}
        with tempfile.TemporaryDirectory() as cache:
            r = timed([SINTER, "compile", model, "-t", self.threads, "--quiet"], SINTER_CACHE=cache)
        return {**r, "mib_beyond_file": r["mib"] - os.path.getsize(model) / 2 ** 20}


class Llama:
    name = "llama.cpp"

    def __init__(self, args):
        self.bin, self.threads, self.reps = args.llama, str(args.threads), str(args.reps)

    def bench(self, model, t, flash):
        out = output([os.path.join(self.bin, "llama-bench"), "-m", model, "-t", self.threads, "-fa", flash, "-r", self.reps, "-o",
                      "json", "-p", str(t["prompt"]), "-n", str(t["generate"]), "-d", str(t["depth"])])
        return json.loads(out)[0]["avg_ts"]

    def test(self, model, t):
        if t["batch"] == 1:  # at depth the better setting counts
            return {"tok_s": max(self.bench(model, t, flash) for flash in (("0", "1") if t["depth"] else ("1",)))}
        out = output([os.path.join(self.bin, "llama-batched-bench"), "-m", model, "-c", str((t["depth"] + t["generate"]) * t["batch"] + 512),
                      "-b", "2048", "-ub", "512", "-npp", str(t["depth"]), "-ntg", str(t["generate"]), "-npl", str(t["batch"]), "-t",
                      self.threads, "-tb", self.threads, "-fa", "on", "--output-format", "jsonl"])
        return {"tok_s": [json.loads(line) for line in out.splitlines() if line.startswith("{")][-1]["speed_tg"]}

    def start(self, model, row):
        if row != "first token":
            return None
        return timed([os.path.join(self.bin, "llama-bench"), "-m", model, "-t", self.threads, "-p", "5", "-n", "0", "-r", "1", "--no-warmup"])


class OpenVino:
    """One process a model, as loading takes seconds; it sleeps while others run."""
    name = "OpenVINO"

    def __init__(self, args):
        self.python, self.threads, self.children, self.reasons = args.openvino, str(args.threads), {}, {}
        self.script = os.path.join(ROOT, "bench", "openvino_peer.py")

    def test(self, model, t):
        if model not in self.children:
            self.children[model] = subprocess.Popen([self.python, self.script, model, self.threads], stdin=subprocess.PIPE,
                                                    stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        child = self.children[model]
        with contextlib.suppress(BrokenPipeError):
            child.stdin.write(json.dumps(t) + "\n")
            child.stdin.flush()
        line = child.stdout.readline()
        if not line:
            raise PeerFailed("OpenVINO: " + self.reasons.setdefault(model, last_words(child.stderr.read())))
        return json.loads(line)

    def start(self, model, row):
        return timed([self.python, self.script, model, self.threads, "--first"]) if row == "first token" else None

    def close(self):
        for child in self.children.values():
            child.kill()


@contextlib.contextmanager
def hog(on):
    child = subprocess.Popen([sys.executable, "-c", SPIN]) if on else None
    try:
        yield
    finally:
        if child:
            child.kill()
            child.wait()


def measure(engines, path, row):
    """What each engine did in a row; a peer that fails is kept as such."""
    out = {}
    for e in engines:
        try:
            r = e.test(path, TESTS[row]) if row in TESTS else e.start(path, row)
        except PeerFailed as failure:
            if e.name == "Sinter":
                raise SystemExit(str(failure)) from failure
            r = {"failed": str(failure)}
        if r:
            out[e.name] = r
    return out


def one_round(args, engines, name, path):
    for row in [r for r in (*TESTS, *STARTS) if not args.only or r in args.only.split(",")]:
        if args.hog and row in STARTS:
            continue
        quiet = measure([e for e in engines if e.name == "Sinter"], path, row)["Sinter"] if args.hog else None
        with hog(args.hog):
            r = measure(engines, path, row)
        yield {"model": name, "row": row, "hog": args.hog, "quiet": quiet, **r}


# ---- the table ----

def median(samples, value):
    values = [v for v in map(value, samples) if v is not None]
    return statistics.median(values) if values else None


def ratio(sample, peer):
    p = sample.get(peer)
    return sample["Sinter"]["tok_s"] / p["tok_s"] if p and "tok_s" in p else None


def peer_cell(samples, peer):
    have = [s[peer] for s in samples if peer in s]
    if have and all("failed" in p for p in have):
        return "does not load"
    speed = median(samples, lambda s: s.get(peer, {}).get("tok_s"))
    return f"{speed:.1f}" if speed else "–"


def ratio_cell(samples, peer, floor):
    """Text, and whether the floor holds (None: nothing to judge)."""
    r = median(samples, lambda s: ratio(s, peer))
    if r is None:
        return ("–" if not floor else f"not measured (≥ {floor})"), (None if not floor else False)
    return f"{r:.2f}×" + (f" (≥ {floor})" if floor else ""), (r >= floor if floor else None)


def verdict(held):
    judged = [h for h in held if h is not None]
    return "–" if not judged else "holds" if all(judged) else "BELOW"


def speed_table(groups, failures):
    print("| model | row | llama.cpp | OpenVINO | Sinter | of the limit | × llama.cpp | × OpenVINO | |\n|---|---|---|---|---|---|---|---|---|")
    shares = {(m, r): median(s, lambda x: x["Sinter"]["share"]) for (m, r, h), s in groups.items() if r in TESTS and not h}
    for (model, row, hogged), samples in groups.items():
        if row not in TESTS or hogged:
            continue
        floors = FLOORS[row].get(model, {})
        llama, a = ratio_cell(samples, "llama.cpp", floors.get("llama.cpp"))
        openvino, b = ratio_cell(samples, "OpenVINO", floors.get("OpenVINO"))
        share, held = shares[model, row], [a, b]
        text = f"{100 * share:.0f} %"
        if model not in FLOORS[row] and (SHARES_OF, row) in shares:
            least = SHARE_SLACK * shares[SHARES_OF, row]
            text += f" (≥ {100 * least:.0f})"
            held.append(share >= least)
        said = verdict(held)
        if said == "BELOW":
            failures.append(f"{model}, {row}")
        print(f"| {model} | {row} | {peer_cell(samples, 'llama.cpp')} | {peer_cell(samples, 'OpenVINO')} | "
              f"{median(samples, lambda s: s['Sinter']['tok_s']):.1f} | {text} | {llama} | {openvino} | {said} |")


def start_cell(samples, engine):
    have = [s[engine] for s in samples if engine in s]
    if not have:
        return "–"
    if all("failed" in p for p in have):
        return "does not load"
    seconds, mib = (statistics.median(p[k] for p in have if "failed" not in p) for k in ("seconds", "mib"))
    return f"{1000 * seconds:.0f} ms, {mib:.0f} MiB"


def start_table(groups, failures):
    print("\n| model | row | llama.cpp | OpenVINO | Sinter | at most | |\n|---|---|---|---|---|---|---|")
    for (model, row, _), samples in groups.items():
        if row not in STARTS:
            continue
        limit, said, text = CEILINGS[row].get(model), "–", "–"
        if limit:
            key = "mib_beyond_file" if row == "cold compile" else "mib"
            held = (median(samples, lambda s: s["Sinter"]["seconds"]) <= limit[0], median(samples, lambda s: s["Sinter"][key]) <= limit[1])
            text, said = f"{1000 * limit[0]:.0f} ms, {'file + ' if row == 'cold compile' else ''}{limit[1]} MiB", verdict(held)
            if said == "BELOW":
                failures.append(f"{model}, {row}")
        print(f"| {model} | {row} | {start_cell(samples, 'llama.cpp')} | {start_cell(samples, 'OpenVINO')} | "
              f"{start_cell(samples, 'Sinter')} | {text} | {said} |")


def hog_table(groups, failures):
    print("\n| model | row beside a hog | llama.cpp | Sinter | of the quiet figure | × llama.cpp | |\n|---|---|---|---|---|---|---|")
    for (model, row, hogged), samples in groups.items():
        if not hogged:
            continue
        kept = median(samples, lambda s: s["Sinter"]["tok_s"] / s["quiet"]["tok_s"])
        text, held = ratio_cell(samples, "llama.cpp", HOG_PEER)
        said = verdict([kept >= HOG_QUIET, held])
        if said == "BELOW":
            failures.append(f"{model}, {row}, beside a hog")
        print(f"| {model} | {row} | {peer_cell(samples, 'llama.cpp')} | {median(samples, lambda s: s['Sinter']['tok_s']):.1f} | "
              f"{kept:.2f}× (≥ {HOG_QUIET}) | {text} | {said} |")


def show(samples):
    groups, failures = {}, []
    for s in samples:
        groups.setdefault((s["model"], s["row"], s["hog"]), []).append(s)
    rounds = [len(v) for v in groups.values()]
    print(f"Tokens/s, medians over {min(rounds)} to {max(rounds)} interleaved rounds.\n")
    kinds = {(row in TESTS, hogged) for _, row, hogged in groups}
    if (True, False) in kinds:
        speed_table(groups, failures)
    if (False, False) in kinds:
        start_table(groups, failures)
    if (True, True) in kinds:
        hog_table(groups, failures)
    for reason in sorted({f"{s['model']}: {p['failed']}" for s in samples for p in s.values() if isinstance(p, dict) and "failed" in p}):
        print("\nnote:", " ".join(reason.split()))
    return failures


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("models", nargs="*", default=["smollm2", "gemma3"])
    p.add_argument("--llama")
    p.add_argument("--openvino")
    p.add_argument("-t", "--threads", type=int, default=2)
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--reps", type=int, default=2, help="repetitions within a round")
    p.add_argument("--only", default="", help="rows: " + ", ".join((*TESTS, *STARTS)))
    p.add_argument("--hog", action="store_true")
    p.add_argument("--samples", help="JSON lines; added to, and shown as a whole")
    p.add_argument("--assert", action="store_true", dest="strict")
    args = p.parse_args()
    unknown = set(filter(None, args.only.split(","))) - {*TESTS, *STARTS}
    if unknown:
        raise SystemExit(f"--only: no row {', '.join(sorted(unknown))}; there are {', '.join((*TESTS, *STARTS))}")
    engines = [*([Llama(args)] if args.llama else []), *([OpenVino(args)] if args.openvino else []), Sinter(args)]
    paths = {m: m if os.path.exists(m) else output([SINTER, "models", "path", m, "--quiet"]).strip() for m in args.models}
    samples = []
    if args.samples and os.path.exists(args.samples):
        with open(args.samples, encoding="utf-8") as f:
            samples = [json.loads(line) for line in f]
    try:
        for _ in range(args.rounds):
            for model, path in paths.items():
                for s in one_round(args, engines, os.path.basename(model).removesuffix(".gguf"), path):
                    samples.append(s)
                    if args.samples:
                        with open(args.samples, "a", encoding="utf-8") as f:
                            f.write(json.dumps(s) + "\n")
    finally:
        for e in engines:
            if isinstance(e, OpenVino):
                e.close()
    if not samples:
        raise SystemExit("nothing was measured: --rounds 0 needs --samples FILE of earlier rounds")
    failures = show(samples)
    for f in failures:
        print("below its floor:", f, file=sys.stderr)
    sys.exit(1 if failures and args.strict else 0)


if __name__ == "__main__":
    main()
