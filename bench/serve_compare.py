#!/usr/bin/env python3
"""Sinter's server beside llama-server, under the same light client, interleaved.

   bench/serve_compare.py --llama PATH/llama-server [-t 2] [--rounds 1] [--requests 32] [--shared 0] [--samples FILE] [MODEL…]

MODEL is a known name or a GGUF file (default: smollm2). Both servers stay up; in each round bench/serve_load.c runs --clients (8)
closed-loop clients with --requests each against one, then against the other, with --prompt (128) tokens behind --shared ones that all
have, --output (64) tokens asked for, and prompts that no round before had. Ratios are of one round, and what is shown is their
median: tokens a second, Sinter / peer, and times to the first token (p50, p95). CPU of client and servers comes with them. --samples
FILE keeps rounds, so that pieces of a measurement add up; --rounds 0 shows what it holds."""
import argparse
import http.client
import json
import os
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


def parse():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("models", nargs="*", metavar="MODEL", default=["smollm2"])
    parser.add_argument("--llama", metavar="PROGRAM", required=True, help="llama-server")
    parser.add_argument("--context", type=int, help="of all the peer's slots together (default: 8192, or what the prompts need)")
    parser.add_argument("-t", "--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--requests", type=int, default=32, help="of each client")
    parser.add_argument("--prompt", type=int, default=128)
    parser.add_argument("--output", type=int, default=64)
    parser.add_argument("--shared", type=int, default=0)
    parser.add_argument("--samples", metavar="FILE")
    o = parser.parse_args()
    need = o.clients * (o.shared + o.prompt + o.output + 16)
    o.context = o.context or max(8192, -(-need // 1024) * 1024)
    return o


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Server:
    def __init__(self, command, port):
        self.port = port
        self.log = open(os.path.join(TEMP.name, f"{port}.log"), "wb+")
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log)
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


def load(client, server, o, seed):
    run = subprocess.run([client, "--port", str(server.port), "--pid", str(server.process.pid), "--clients", str(o.clients), "--requests",
                          str(o.clients * o.requests), "--prompt", str(o.prompt), "--output", str(o.output), "--shared", str(o.shared),
                          "--vocab", "40000", "--seed", str(seed)], capture_output=True, text=True)
    if run.returncode:
        sys.exit(f"serve_load: exit {run.returncode}: {run.stdout}{run.stderr}")
    return json.loads(run.stdout)


def measure(model, o, client, seed):
    file = subprocess.run([SINTER, "models", "path", model], capture_output=True, text=True)
    path = model if os.path.exists(model) else file.stdout.strip()
    ports = free_port(), free_port()
    sinter = Server([SINTER, "serve", path, "-t", str(o.threads), "--port", str(ports[0]), "-q"], ports[0])
    peer = Server([o.llama, "-m", path, "-t", str(o.threads), "-np", str(o.clients), "-c", str(o.context), "-fa", "on", "--port",
                   str(ports[1]), "--no-warmup"], ports[1])
    rounds = []
    for i in range(-1, o.rounds):  # round -1 warms both up: pages of weights, prefixes that all share
        few = argparse.Namespace(**{**vars(o), "requests": 1}) if i < 0 else o
        both = [load(client, s, few, seed + i) for s in (sinter, peer)]
        if i >= 0:
            rounds.append(both)
    sinter.stop()
    peer.stop()
    return rounds


def ratios(rounds, of):
    return sorted(of(mine) / of(other) for mine, other in rounds)


def show(name, values, form="{:.2f}"):
    spread = f", {form.format(values[0])} to {form.format(values[-1])}" if len(values) > 1 else ""
    return f"{name} {form.format(statistics.median(values))}{spread}"


def main():
    o = parse()
    client = os.path.join(TEMP.name, "serve_load")
    subprocess.run(["cc", "-O2", "-o", client, os.path.join(ROOT, "bench", "serve_load.c")], check=True)
    samples = {}
    if o.samples and os.path.exists(o.samples):
        with open(o.samples, encoding="utf-8") as f:
            samples = json.load(f)
    for model in o.models:
        row = f"{os.path.basename(model)}, {o.clients} clients x {o.requests}, {o.shared} + {o.prompt} -> {o.output}"
        kept = samples.setdefault(row, [])
        if o.rounds:
            kept += measure(model, o, client, 1000 * (len(kept) + 1))
    if o.samples:
        with open(o.samples, "w", encoding="utf-8") as f:
            json.dump(samples, f)
    for row, rounds in samples.items():
        if not rounds:
            continue
        mine = [both[0] for both in rounds]
        print(f"{row}; {len(rounds)} rounds")
        print("  " + show("tokens/s x peer", ratios(rounds, lambda r: r["tok_s"])) + "; "
              + show("Sinter", sorted(m["tok_s"] for m in mine), "{:.0f}"))
        for q in ("p50", "p95"):
            print("  " + show(f"first token {q} x peer", ratios(rounds, lambda r: r["first_token_ms"][q]), "{:.3f}") + "; "
                  + show("Sinter ms", sorted(m["first_token_ms"][q] for m in mine), "{:.0f}"))
        print("  " + show("client's CPU per server's, %", sorted(100 * m["client_cpu_s"] / max(m["server_cpu_s"], 1e-9) for m in mine), "{:.1f}"))


main()
