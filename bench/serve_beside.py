#!/usr/bin/env python3
"""How long clients wait for their next token while a server reads somebody else's long prompt.

    build/sinter serve MODEL -t 2 &
    bench/serve_beside.py --port 8080

Streams run, then long prompts come one after the other; the times between the tokens of the streams, while a prompt is read, are
what counts. Prints JSON. Standard library only."""
import argparse
import http.client
import json
import random
import threading
import time

parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
parser.add_argument("--port", type=int, default=8080)
parser.add_argument("--streams", type=int, default=4)
parser.add_argument("--prompt", type=int, default=4000)
parser.add_argument("--prompts", type=int, default=3)
parser.add_argument("--output", type=int, default=2000, help="tokens of a stream")
parser.add_argument("--seed", type=int, default=1, help="of the prompts: a server knows those that it has read before")
parser.add_argument("--vocab", type=int, default=40000)
o = parser.parse_args()
rng = random.Random(o.seed)
prompts = []  # (begin, end) of each
times = [[] for _ in range(o.streams)]
over = threading.Event()


def ask(body):
    c = http.client.HTTPConnection("127.0.0.1", o.port, timeout=300)
    c.request("POST", "/v1/completions", json.dumps(body), {"Content-Type": "application/json"})
    answer = c.getresponse()
    if answer.status != 200:
        over.set()
        raise SystemExit(f"the server answers {answer.status}: {answer.read().decode()[:300]}")
    return c, answer


def stream(i):
    while not over.is_set():
        # with logprobs every token has an event of its own; without, one that ends within a character comes with the next
        c, answer = ask({"prompt": [rng.randrange(100, o.vocab) for _ in range(16)], "max_tokens": o.output, "ignore_eos": True, "stream": True,
                         "logprobs": 0})
        for line in answer:
            if line.startswith(b"data: {"):
                times[i].append(time.monotonic())
            if over.is_set():
                break
        c.close()
        times[i].append(None)


threads = [threading.Thread(target=stream, args=(i,)) for i in range(o.streams)]
for t in threads:
    t.start()
time.sleep(1)
for _ in range(o.prompts):
    begin = time.monotonic()
    c, answer = ask({"prompt": [rng.randrange(100, o.vocab) for _ in range(o.prompt)], "max_tokens": 1, "ignore_eos": True})
    answer.read()
    c.close()
    prompts.append((begin, time.monotonic()))
    time.sleep(0.3)
over.set()
for t in threads:
    t.join()
gaps = sorted((b - a) * 1e3 for list_ in times for a, b in zip(list_, list_[1:]) if a and b and any(begin <= a and b <= end for begin, end in prompts))
alone = sorted((b - a) * 1e3 for list_ in times for a, b in zip(list_, list_[1:]) if a and b and not any(begin <= b and a <= end for begin, end in prompts))
if not gaps or not alone:
    raise SystemExit("no tokens came while a prompt was read: take a longer --prompt")
print(json.dumps({"prompt_seconds": [round(e - b, 2) for b, e in prompts], "tokens_beside": len(gaps),
                  **{f"beside_p{p}_ms": round(gaps[int(len(gaps) * p / 100)], 1) for p in (50, 95, 99)}, "beside_most_ms": round(gaps[-1], 1),
                  "alone_p50_ms": round(alone[len(alone) // 2], 1)}))
