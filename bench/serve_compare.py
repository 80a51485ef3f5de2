#!/usr/bin/env python3
"""Sinter's server beside llama-server, under the same light client, interleaved; and beside itself.

   bench/serve_compare.py --llama PATH/llama-server [-t 2] [--rounds 1] [--only ROW,…] [--samples FILE] [--assert] [MODEL…]

Rows: `8x4` and `8x32` (closed-loop clients x requests of each, 128 tokens of prompt, 64 of answer), `shared` (8x4 behind 1,000 tokens
that all prompts have), `start` (from exec to the first answer and to the first token), `beside` (time between tokens of four streams while somebody else's 4,000-token prompt is read), `cpu` (the
server's processor time for a token over that of `sinter bench`). MODEL is a known name or a GGUF file; without one, smollm2, and
gemma3 for `shared`, too.

In each round bench/serve_load.c runs against one server, then against the other, with prompts that no round before had. Ratios are
of one round, Sinter / peer; what is shown is their median, with the least and the largest. --samples FILE keeps a JSON line for each
round, so that pieces of a measurement add up; --rounds 0 shows what it holds. --pieces N cuts a run of the client into N, and --hold
COMMAND goes in front of each, for machines where one has to ask for quiet. --peer-args=ARGS are more arguments of llama-server, as
--no-cache-prompt, which keeps it from reusing prefixes; such rounds are shown apart. --assert exits with 1 when a row does not give
what its line in ROWS asks for. The numbers of a row can be changed, for a try: --clients, --requests, --prompt, --output."""
import argparse
import atexit
import http.client
import json
import os
import resource
import shlex
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SINTER = os.path.join(ROOT, "build", "sinter")
TEMP = tempfile.TemporaryDirectory()
STEP_MS = 50  # --max-step-ms
LOAD = {"clients": 8, "requests": 4, "prompt": 128, "output": 64, "shared": 0}
# What is asked for: figure of a round, its bound, and on which side of it.
FAST = [("tok_s", 2.5, "least"), ("p50", .3, "most"), ("p95", .3, "most")]
ROWS = {
    "8x4": (LOAD, FAST),
    "8x32": ({**LOAD, "requests": 32}, FAST),
    "shared": ({**LOAD, "shared": 1000}, [("tok_s", 4, "least")]),
    "beside": ({"prompt": 4000}, [("p99_ms", 1.2 * STEP_MS, "most")]),
    "start": ({}, [("livez_ms", 10, "most"), ("first_ms", 80, "most"), ("first", 1, "most")]),
    "cpu": ({"clients": 1, "requests": 6, "prompt": 1, "output": 128, "shared": 0}, [("cpu", 1.03, "most")]),
}
NAMES = {"tok_s": "tokens/s, x peer", "p50": "first token p50, x peer", "p95": "first token p95, x peer", "p99_ms": "between tokens p99, ms",
         "cpu": "processor time a token, x bench",
         "livez_ms": "from exec to /livez, ms", "first_ms": "from exec to the first token, ms", "first": "from exec to the first token, x peer"}


def parse():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("models", nargs="*", metavar="MODEL")
    p.add_argument("--llama", metavar="PROGRAM", help="llama-server")
    p.add_argument("-t", "--threads", type=int, default=2)
    p.add_argument("--rounds", type=int, default=1)
    p.add_argument("--only", default="", help="rows: " + ", ".join(ROWS))
    p.add_argument("--samples", metavar="FILE", help="JSON lines; added to, and shown as a whole")
    p.add_argument("--assert", action="store_true", dest="strict")
    p.add_argument("--pieces", type=int, default=1, help="runs of the client a row is cut into")
    p.add_argument("--peer-args", default="", metavar="ARGS", help="more arguments of llama-server")
    p.add_argument("--hold", default="", metavar="COMMAND", help="goes in front of every run of a client")
    for name in ("clients", "requests", "prompt", "output"):
        p.add_argument("--" + name, type=int)
    o = p.parse_args()
    o.hold = shlex.split(o.hold)
    o.peer_args = shlex.split(o.peer_args)
    unknown = set(filter(None, o.only.split(","))) - set(ROWS)
    if unknown:
        p.error(f"there is no row {', '.join(sorted(unknown))}")
    return o


def row_of(o, name):
    """The numbers of a row, as changed on the command line, and what the peer was told besides."""
    peer = {"peer": o.peer_args} if o.peer_args else {}
    return {**ROWS[name][0], **{k: getattr(o, k) for k in ROWS[name][0] if getattr(o, k, None)}, **peer}


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Server:
    def __init__(self, command, port):
        self.port = port
        self.log = open(os.path.join(TEMP.name, f"{port}.log"), "wb+")
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log)
        atexit.register(self.process.kill)
        for _ in range(2400):
            if self.process.poll() is not None or self.is_ready():
                break
            time.sleep(.05)
        if not self.is_ready():
            self.log.seek(0)
            sys.exit(f"{command[0]} does not answer:\n{self.log.read().decode(errors='replace')[-800:]}")

    def is_ready(self):
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            c.request("GET", "/health")
            return c.getresponse().status == 200
        except OSError:
            return False
        finally:
            c.close()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def sinter_server(o, path):
    port = free_port()
    return Server([SINTER, "serve", path, "-t", str(o.threads), "--max-step-ms", str(STEP_MS), "--port", str(port), "-q"], port)


def peer_server(o, path, row):
    port = free_port()
    context = max(8192, -(-row["clients"] * (row["shared"] + row["prompt"] + row["output"] + 16) // 1024) * 1024)
    return Server([o.llama, "-m", path, "-t", str(o.threads), "-np", str(row["clients"]), "-c", str(context), "-fa", "on", "--port", str(port),
                   "--no-warmup", *o.peer_args], port)


def quantile(values, q):
    return values[int(q * (len(values) - 1))]


def load(client, server, row, seed, hold=(), pieces=1):
    """One run of the client, or a few that count as one."""
    first, sums = [], dict.fromkeys(("seconds", "output_tokens", "client_cpu_s", "server_cpu_s"), 0)
    for piece in range(pieces):
        run = subprocess.run([*hold, client, "--port", str(server.port), "--pid", str(server.process.pid), "--clients", str(row["clients"]), "--requests",
                              str(max(row["clients"] * row["requests"] // pieces, 1)), "--prompt", str(row["prompt"]), "--output", str(row["output"]),
                              "--shared", str(row["shared"]), "--vocab", "40000", "--seed", str(seed + piece), "--list"], capture_output=True, text=True)
        if run.returncode:
            sys.exit(f"serve_load: exit {run.returncode}: {run.stdout}{run.stderr}")
        out = json.loads(run.stdout)
        first += out["first_token_list_ms"]
        for k in sums:
            sums[k] += out[k]
    first.sort()
    return {**sums, "tok_s": sums["output_tokens"] / sums["seconds"], "p50": quantile(first, .5), "p95": quantile(first, .95)}


def compare(o, client, path, row, seed):
    """Rounds of both servers; a round before them warms both up: pages of weights, prefixes that all share."""
    if not o.llama:
        sys.exit("this row needs --llama")
    mine, peer = sinter_server(o, path), peer_server(o, path, row)
    for s in (mine, peer):
        load(client, s, {**row, "requests": 1}, seed, o.hold)
    for i in range(o.rounds):
        a, b = (load(client, s, row, seed + 100 * (i + 1), o.hold, o.pieces) for s in (mine, peer))
        yield {**{k: a[k] / b[k] for k in ("tok_s", "p50", "p95")}, "mine": a, "peer": b}
    mine.stop()
    peer.stop()


def beside(o, path, row):
    """Four prompts are some 400 steps: of one prompt, the slowest hundredth would be a single step."""
    s = sinter_server(o, path)
    for i in range(o.rounds):
        run = subprocess.run([*o.hold, sys.executable, os.path.join(ROOT, "bench", "serve_beside.py"), "--port", str(s.port), "--prompts", "4", "--prompt",
                              str(row["prompt"]), "--seed", str(i + 1)], capture_output=True, text=True, check=True)
        out = json.loads(run.stdout)
        yield {"p99_ms": out["beside_p99_ms"], **out}
    s.stop()


def start(o, path):
    """Medians of eleven starts each, from the cache and with warm pages."""
    program = os.path.join(TEMP.name, "serve_start")
    subprocess.run(["cc", "-O2", "-o", program, os.path.join(ROOT, "bench", "serve_start.c")], check=True)
    if not o.llama:
        sys.exit("this row needs --llama")
    commands = [SINTER, "serve", path, "-t", str(o.threads), "-q"], [o.llama, "-m", path, "-t", str(o.threads), "-c", "8192", "-np", "8", "-fa", "on", "--no-warmup"]
    for _ in range(o.rounds):
        a, b = (json.loads(subprocess.run([*o.hold, program, *c], capture_output=True, text=True, check=True).stdout) for c in commands)
        yield {"livez_ms": a["livez_ms"]["median"], "first_ms": a["first_token_ms"]["median"], "first": a["first_token_ms"]["median"] / b["first_token_ms"]["median"],
               "sinter_start": a, "peer_start": b}


def bench_cpu(o, path, tokens, repeat):
    """Processor seconds of `sinter bench`, its start included."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([*o.hold, SINTER, "bench", path, "-t", str(o.threads), "-p", "0", "-n", str(tokens), "-r", str(repeat), "-q", "--json"], check=True,
                   stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def cpu(o, client, path, row, seed):
    """For a token that one client waits for; of `bench` the difference of many repetitions and few, which leaves out its start."""
    s = sinter_server(o, path)
    load(client, s, {**row, "requests": 1}, seed)
    for i in range(o.rounds):
        out = load(client, s, row, seed + i + 1, o.hold)
        more, few = row["requests"] + 2, 2
        plain = (bench_cpu(o, path, row["output"], more) - bench_cpu(o, path, row["output"], few)) / (row["output"] * (more - few))
        yield {"cpu": out["server_cpu_s"] / out["output_tokens"] / plain, "bench_ms": 1e3 * plain, "mine": out}
    s.stop()


def rounds_of(o, client, name, path, seed):
    row = row_of(o, name)
    if name == "beside":
        return beside(o, path, row)
    if name == "start":
        return start(o, path)
    return (cpu if name == "cpu" else compare)(o, client, path, row, seed)


def show(samples):
    """A line a figure; what does not hold."""
    failures = []
    print("| row | model | rounds | figure | median | least to largest | asked | Sinter | client's CPU of server's |\n" + "|---" * 9 + "|")
    groups = {}
    for s in samples:
        groups.setdefault((s["row"], s["model"], json.dumps(s["numbers"])), []).append(s)
    for (name, model, numbers), rounds in groups.items():
        peer = json.loads(numbers).get("peer")
        model += f" (peer with {' '.join(peer)})" if peer else ""
        mine = [r["mine"] for r in rounds if "mine" in r]
        light = f"{100 * statistics.median(m['client_cpu_s'] / max(m['server_cpu_s'], 1e-9) for m in mine):.1f} %" if mine else ""
        for key, bound, side in ROWS[name][1]:
            values = sorted(r[key] for r in rounds)
            middle = statistics.median(values)
            own = f"{statistics.median(m[key] for m in mine):.0f}{'' if key == 'tok_s' else ' ms'}" if mine and key in mine[0] else ""
            print(f"| {name} | {model} | {len(rounds)} | {NAMES[key]} | {middle:.3g} | {values[0]:.3g} to {values[-1]:.3g} | {side} {bound:.3g} | {own} | {light} |")
            if (middle < bound) if side == "least" else (middle > bound):
                failures.append(f"{name}, {model}: {NAMES[key]} {middle:.3g}, {side} {bound:.3g} is asked for")
    return failures


def main():
    o = parse()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # servers end with it
    client = os.path.join(TEMP.name, "serve_load")
    subprocess.run(["cc", "-O2", "-o", client, os.path.join(ROOT, "bench", "serve_load.c")], check=True)
    samples = []
    if o.samples and os.path.exists(o.samples):
        with open(o.samples, encoding="utf-8") as f:
            samples = [json.loads(line) for line in f]
    for name in [n for n in ROWS if not o.only or n in o.only.split(",")]:
        for model in (o.models or (["smollm2", "gemma3"] if name == "shared" else ["smollm2"])) if o.rounds else []:
            found = subprocess.run([SINTER, "models", "path", model, "-q"], capture_output=True, text=True)
            path = model if os.path.exists(model) else found.stdout.strip()
            for r in rounds_of(o, client, name, path, 1000 * (len(samples) + 1)):
                samples.append({"row": name, "model": os.path.basename(model).removesuffix(".gguf"), "numbers": row_of(o, name), **r})
                if o.samples:
                    with open(o.samples, "a", encoding="utf-8") as f:
                        f.write(json.dumps(samples[-1]) + "\n")
    if not samples:
        sys.exit("nothing was measured: --rounds 0 needs --samples FILE of earlier rounds")
    failures = show(samples)
    for f in failures:
        print("does not hold:", f, file=sys.stderr)
    sys.exit(1 if failures and o.strict else 0)


main()
