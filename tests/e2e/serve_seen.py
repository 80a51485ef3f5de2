"""What can be seen of a server: kernels with their times, IR and instructions, in JSON and on the page; vLLM's metric names; the trace;
progress of a load. And what a disk that is full, read-only or cut off by a kill does to it: nothing."""
import resource
import select
import subprocess
import threading

from server import *  # noqa: F403

ASK = {"prompt": [5, 6, 7], "max_tokens": 40, "temperature": 0, "ignore_eos": True}
VLLM = """num_requests_running num_requests_waiting kv_cache_usage_perc prefix_cache_queries prefix_cache_hits num_preemptions prompt_tokens generation_tokens
request_success time_to_first_token_seconds inter_token_latency_seconds request_time_per_output_token_seconds e2e_request_latency_seconds
request_queue_time_seconds request_prefill_time_seconds request_decode_time_seconds request_prompt_tokens request_generation_tokens iteration_tokens_total
request_params_n request_params_max_tokens""".split()


def busy(s, stop):
    while not stop.is_set():
        s.post("/v1/completions", **ASK)


def kernels(s):
    """Kills: times of no steps, or of all for ever; another group's IR; code that is not the kernel's."""
    want = s.post("/v1/completions", **ASK)[1]["choices"]
    check(json.loads(s.get("/v1/kernels")[1])["data"] == [], "kernels: nobody asked yet")
    for _ in range(1500):  # the roof is measured beside it
        time.sleep(0.01)
        doc = json.loads(s.get("/v1/kernels?model=llama")[1])
        same = s.post("/v1/completions", **ASK)[1]["choices"] == want
        if doc["limits"]["read_bytes_s"] and any(r["runs"] and r["variant"] == "decode" for r in doc["data"]):
            break
    check(same, "kernels: a step that is timed has the same results")
    rows = [r for r in doc["data"] if r["variant"] == "decode" and r["runs"]]
    check(rows and all(r["us"] > 0 and r["kernel"] and r["group"] for r in rows) and any(r["roof_us"] > 0 for r in rows), "kernels: times and roofs", rows[:3])
    runs = sum(r["runs"] for r in rows)
    for _ in range(4):  # the steps that the last question bought are over by then
        s.post("/v1/completions", **ASK)
    after = json.loads(s.get("/v1/kernels")[1])["data"]
    s.post("/v1/completions", **{**ASK, "max_tokens": 2})
    more = sum(r["runs"] for r in after if r["variant"] == "decode") - runs
    check(0 < more <= 65 * len(rows), "kernels: each question buys some steps", (runs, more))
    grouped = next(r for r in rows if r["rule"])
    one = json.loads(s.get(f"/v1/kernels/{grouped['group']}?model=llama")[1])
    check(re.match(rf"  kernel {grouped['group']} \{{\n(    %.*\n)+  \}}$", one["ir"]), "kernels: the group's IR", one["ir"])
    check(grouped["kernel"] in [k["kernel"] for k in one["kernels"]] and all(k["is_shown"] and re.search(r"^ *[0-9a-f]+ +ret", k["code"], re.M)
                                                                              for k in one["kernels"]), "kernels: instructions", str(one["kernels"])[:300])
    status, body = s.get("/v1/kernels/nothing")
    check(status == 404 and json.loads(body)["error"]["code"] == "kernel_not_found", "kernels: one that is not there", body)
    status, body = s.get("/v1/kernels?model=nobody")
    check(status == 404 and json.loads(body)["error"]["code"] == "model_not_found", "kernels: a model that is not there", body)
    return grouped["group"]


def page(s, group):
    """The kernels on the page, while requests run: a box and a row a launch, and behind a click IR, instructions, pass."""
    stop = threading.Event()
    worker = threading.Thread(target=busy, args=(s, stop))
    worker.start()
    args = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={TEMP.name}/chromium-kernels", "--virtual-time-budget=6000"]
    shot = os.environ.get("SINTER_SCREENSHOT")
    if shot:
        subprocess.run([*args, "--window-size=1400,1100", f"--screenshot={shot}", f"http://127.0.0.1:{s.port}/#kernels/{group}"], capture_output=True, timeout=60)
    out = subprocess.run([*args, "--dump-dom", f"http://127.0.0.1:{s.port}/#kernels/{group}"], capture_output=True, text=True, timeout=60).stdout
    stop.set()
    worker.join()
    check(out.count("<i ") > 5 and "% of roof" in out and "launches, " in out, "page: the kernels of a step", out[-3000:])
    check(f"<pre>  kernel {group} {{" in out and "grouped by the pass" in out and re.search(r"\bret", out) and "KV pages" in out, "page: behind a click", out[-3000:])


def metrics():
    s = Server(SMALL, "--metrics-compat=vllm")
    for _ in range(3):
        s.post("/v1/completions", **ASK)
    s.settled("llama")
    text = s.get("/metrics")[1].decode()
    kinds = dict(re.findall(r"^# TYPE vllm:(\S+) (\S+)$", text, re.M))
    for name in VLLM:
        kind = kinds.get(name) or kinds.get(name + "_total")
        sample = {"histogram": f"vllm:{name}_bucket{{model_name=\"llama\",le=", "gauge": f'vllm:{name}{{model_name="llama"}} ',
                  "counter": f'vllm:{name}_total{{model_name="llama"'}.get(kind)
        check(sample and sample in text, f"metrics: vllm:{name}", kind)
    figure = lambda name: float(re.search(rf"^{re.escape(name)} (\S+)$", text, re.M)[1])
    check(figure('vllm:generation_tokens_total{model_name="llama"}') == 120 and figure('vllm:request_success_total{model_name="llama",finished_reason="length"}') == 3,
          "metrics: vLLM's figures")
    check(figure('vllm:request_generation_tokens_sum{model_name="llama"}') == 120 and figure('vllm:time_to_first_token_seconds_count{model_name="llama"}') == 3,
          "metrics: vLLM's histograms")
    check(figure('sinter_http_responses_total{route="POST /v1/completions",code="2xx"}') == 3 and 'sinter_artifact_info{model="llama",digest="blake2b:' in text and
          "sinter_build_info{version=" in text, "metrics: routes, artifact, build", text[-900:])
    s.stop()
    s = Server(SMALL)
    check("vllm:" not in s.get("/metrics")[1].decode(), "metrics: our own names only, unless asked for")
    s.stop()
    sinter("serve", SMALL, "--metrics-compat", "other", "--port", free_port(), expect=2)


def ticks(s):
    """Processor time so far, in hundredths of a second."""
    with open(f"/proc/{s.process.pid}/stat", encoding="ascii") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


def limits():
    """Kills: a bound that is only written down."""
    s = Server(SMALL, "--limit", "body_bytes=4096,messages=2,choices=3,queue=2,idle_seconds=1")
    check(json.loads(s.get("/openapi.json")[1])["x-limits"]["queue"] == 2, "limits: openapi has them")
    for fields, status, code in (({"prompt": "x" * 5000}, 413, "body_too_large"), ({"prompt": ["a"] * 4}, 400, "too_many_prompts"),
                                 ({"prompt": ["a", "b"], "n": 2}, 400, "invalid_value")):
        got = s.post("/v1/completions", **fields)
        check(got[0] == status and got[1]["error"]["code"] == code, f"limits: {code}", got)
    body = json.dumps({**ASK, "max_tokens": 450, "stream": True}).encode()
    seen = []
    for _ in range(20):  # three at once are one too many, unless one is over already
        streams = [socket.create_connection(("127.0.0.1", s.port)) for _ in range(6)]
        for c in streams:
            c.sendall(POST + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        seen = [c.recv(4096) for c in streams]
        for c in streams:
            c.close()
        if any(b" 429 " in a[:20] for a in seen):
            break
    refused = [a for a in seen if b" 429 " in a[:20]]
    check(refused and all(b"Retry-After" in a for a in refused) and any(b" 200 " in a[:20] for a in seen), "limits: a full queue", seen)
    check(s.idle(), "limits: nothing is left")
    with socket.create_connection(("127.0.0.1", s.port), timeout=10) as c:
        before = ticks(s)
        check(c.recv(10) == b"", "limits: a silent connection is closed")
        check(ticks(s) - before <= 2, "an idle server takes no processor time", ticks(s) - before)
    s.stop()
    for bad in ("queue", "queue=x", "queue=0", "queue=5 ", "nothing=3"):
        sinter("serve", SMALL, "--limit", bad, "--port", free_port(), expect=2)


def own_address():
    """An address of this machine that is not a loopback one; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as c:
        c.connect(("192.0.2.1", 9))
        return c.getsockname()[0]


def answered(s, host, count, timeout=5):
    """How many of so many connections at once get an answer in time."""
    held, good = [], []
    for _ in range(count):
        try:
            c = socket.create_connection((host, s.port), timeout=timeout)
            held.append(c)
            c.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
            good.append(c.recv(100))
        except OSError:
            good.append(b"")
    for c in held:
        c.close()
    return sum(a.startswith(b"HTTP/1.1 200 ") for a in good), good


def many_connections():
    """Kills: a number of connections that nothing bounds, one that stays taken, a proxy on this machine that is taken for a stranger."""
    s = Server(SMALL, "--limit", "connections=8")
    for _ in range(2):
        open_, seen = answered(s, "127.0.0.1", 12, timeout=1)
        check(1 <= open_ <= 8, "limits: connections", (open_, seen))
    check(answered(s, "127.0.0.1", 1)[0] == 1, "limits: connections come free")
    s.stop()
    s = Server(SMALL, "--host", "0.0.0.0", "--insecure", "--limit", "connections_per_address=4")
    for _ in range(2):
        open_, seen = answered(s, own_address(), 12)
        check(open_ == 4 and all(not a or a.startswith((b"HTTP/1.1 200 ", b"HTTP/1.1 429 ")) for a in seen), "limits: connections of one address", (open_, seen))
        check(answered(s, "127.0.0.1", 12)[0] == 12, "limits: clients of this machine are not counted")
        time.sleep(.3)
    s.stop()


def slow_headers():
    """Kills: a time that every byte begins anew, on a new connection or behind an answer; one that goes on behind the headers."""
    s = Server(SMALL, "--limit", "header_seconds=1")
    heads = {"new": b"", "kept": b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"}
    clients = {name: socket.create_connection(("127.0.0.1", s.port), timeout=5) for name in (*heads, "silent", "slow body")}
    for name, head in heads.items():
        clients[name].sendall(head)
        check(not head or b"200 OK" in clients[name].recv(4096), f"slow headers: {name}, before")
    body = json.dumps({"prompt": [5], "max_tokens": 1}).encode()
    clients["slow body"].sendall(POST + b"Content-Length: %d\r\n\r\n" % len(body) + body[:5])
    started, ended = time.time(), {}
    while set(heads) - set(ended) and time.time() - started < 8:
        for name in set(heads) - set(ended):
            try:
                clients[name].sendall(b"G")
            except OSError:
                pass
            if select.select([clients[name]], [], [], 0)[0]:
                ended[name] = time.time() - started, clients[name].recv(4096)
        time.sleep(.05)
    for name in heads:
        at, answer = ended.get(name, (None, b""))
        check(at and 1 <= at < 5 and answer.startswith(b"HTTP/1.1 408 "), f"slow headers: {name} is cut", (at, answer))
    check('route="other",code="4xx"} 2\n' in s.get("/metrics")[1].decode(), "slow headers: counted", s.get("/metrics")[1][-2000:])
    check(not select.select([clients["silent"]], [], [], 0)[0], "slow headers: who has said nothing has idle_seconds")
    clients["slow body"].sendall(body[5:])
    check(b"200 OK" in clients["slow body"].recv(4096), "slow headers: bodies have their own time")
    for c in clients.values():
        c.close()
    s.stop()


def trace():
    """Kills: an event that is no JSON, a request that never ends, rows that no step had."""
    path = os.path.join(TEMP.name, "trace.json")
    s = Server(SMALL, "--trace", path)
    for i in range(4):
        s.post("/v1/completions", **{**ASK, "prompt": [9 + i, 8]})
    status, headers, _ = s.send("POST", "/v1/completions", json.dumps(ASK), {"Content-Type": "application/json", "X-Request-Id": "mine-1"})
    check(status == 200 and headers["X-Request-Id"] == "mine-1", "a client's own request id comes back", headers)
    check("X-Request-Id" not in s.send("GET", "/livez", headers={"X-Request-Id": "a b\tc"})[1], "an id that is none does not")
    for _ in range(100):  # it is written when the request is over, which its client may see first
        with open(path, encoding="utf-8") as f:
            seen = f.read()
        if seen.count('"name":"request"') == 10:
            break
        time.sleep(0.02)
    check(seen.count('"name":"request"') == 10 and seen.endswith("}\n") and json.loads(seen + "]"), "trace: whole requests while the server runs", seen[-300:])
    s.stop()
    with open(path, encoding="utf-8") as f:
        events = json.load(f)
    spans = [e for e in events if e.get("cat") == "request"]
    for name in ("request", "queue", "prefill", "decode"):
        begin, end = ({e["id"]: e["ts"] for e in spans if e["ph"] == ph and e["name"] == name} for ph in "be")
        check(len(begin) == 5 and set(begin) == set(end) and all(begin[i] <= end[i] for i in begin), f"trace: {name}", (begin, end))
    steps = [e for e in events if e["ph"] == "X"]
    rows, tokens = sum(e["args"]["rows"] for e in steps), sum(e["args"]["prompt_tokens"] + e["args"]["generated_tokens"] - 1 - e["args"]["cached_tokens"]
                                                              for e in spans if e["ph"] == "b" and e["name"] == "request")
    check(rows == tokens and all(e["dur"] > 0 for e in steps), "trace: the steps' rows are the requests'", (rows, tokens))
    sinter("serve", SMALL, "--trace", os.path.join(TEMP.name, "no", "where"), "--port", free_port(), expect=1)


def parses(text):
    try:
        json.loads(text)
        return True
    except ValueError:
        return False


def full_disk():
    """Kills: lines of a log that are lost and nobody hears of it, or hears of it at every request; an answer that fails with them, half a
    line that makes the next one unreadable."""
    s = Server(SMALL, "--log", "/dev/full")
    check(all(s.post("/v1/completions", **ASK)[0] == 200 for _ in range(3)), "a full disk under the log: answers go on")
    check(s.errors().count("lines are lost: No space left") == 1, "a full disk under the log is said, once", s.errors())
    s.stop()
    log, trace = (os.path.join(TEMP.name, name) for name in ("cut.log", "cut.trace"))
    s = Server(SMALL, "--log", log, "--trace", trace)
    check(all(s.post("/v1/completions", **ASK)[0] == 200 for _ in range(10)), "before the disk is full")
    most = resource.prlimit(s.process.pid, resource.RLIMIT_FSIZE)[1]
    for path in (log, trace):  # there is room for half a line
        resource.prlimit(s.process.pid, resource.RLIMIT_FSIZE, (os.path.getsize(path) + 100, most))
        check(all(s.post("/v1/completions", **ASK)[0] == 200 for _ in range(3)), "a file that may not grow: answers go on")
    check(s.errors().count("lines are lost: File too large") == 2, "a file that may not grow is said, once for each", s.errors())
    resource.prlimit(s.process.pid, resource.RLIMIT_FSIZE, (most, most))
    s.send("POST", "/v1/completions", json.dumps(ASK), {"Content-Type": "application/json", "X-Request-Id": "late"})
    s.stop()
    with open(log, encoding="utf-8") as f:
        lines = f.read().splitlines()
    broken = [line for line in lines if not parses(line)]
    check(not broken and "late" in lines[-1], "lines are whole, also around one that was lost", (broken, lines[-1]))
    with open(trace, encoding="utf-8") as f:
        check(parses(f.read()), "a trace is whole, also around events that were lost")


def loading():
    """A cold start says how far it is; one that is killed in it, again and again, loses nothing."""
    env = {**os.environ, "SINTER_CACHE": os.path.join(TEMP.name, "cold")}
    stages, wrong = set(), []
    for delay in (0.03, 0.1, 0.2, 0.4):
        port = free_port()
        p = subprocess.Popen([SINTER, "serve", SMALL, "--port", str(port), "-q"], env=env)
        end = time.time() + delay
        while time.time() < end:
            try:
                c = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
                c.request("GET", "/readyz")
                r = c.getresponse()
                doc = json.loads(r.read())
                if (r.status == 200) != (doc["status"] == "ready") or not (r.status == 200 or (doc["model"] == "llama" and 0 <= doc["progress"] <= 1)):
                    wrong.append(doc)
                stages.add(doc.get("stage"))
            except OSError:
                time.sleep(0.002)
        p.kill()
        p.wait()
    check(not wrong, "readyz: every answer is a state", wrong[:3])
    check(stages - {None}, "readyz: a load says where it is", stages)
    s = Server(SMALL, env=env)
    check(s.post("/v1/completions", **ASK)[0] == 200, "kill -9 while loading loses nothing")
    s.process.kill()
    s.process.wait()
    s = Server(SMALL, env=env)
    check(s.post("/v1/completions", **ASK)[0] == 200, "kill -9 while serving loses nothing", s.errors())
    s.stop()
    sinter("cache", "verify", env={"SINTER_CACHE": env["SINTER_CACHE"]})


def disks():
    folder = os.path.join(TEMP.name, "disk")
    os.makedirs(folder)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "none", folder], capture_output=True).returncode:
        print("skip: a full disk and a read-only one need the right to mount")
        return
    try:
        env = {"SINTER_CACHE": os.path.join(folder, "cache")}
        log, trace_path = os.path.join(folder, "log"), os.path.join(folder, "trace")
        s = Server(SMALL, "--log", log, env=env)
        want = s.post("/v1/completions", **ASK)[1]["choices"]
        s.stop()
        open(trace_path, "w").close()
        try:
            with open(os.path.join(folder, "fill"), "wb", buffering=0) as f:
                while f.write(b"\0" * 65536):
                    pass
        except OSError:
            pass
        s = Server(SMALL, "--log", log, "--trace", trace_path, env=env)
        check(all(s.post("/v1/completions", **ASK)[1]["choices"] == want for _ in range(60)), "a full disk is served")
        s.stop()
        subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
        s = Server(SMALL, env=env)
        check(s.post("/v1/completions", **ASK)[1]["choices"] == want, "a read-only cache is served", s.errors())
        s.stop()
    finally:
        subprocess.run(["umount", folder], check=True)


def run():
    s = Server(SMALL)
    page(s, kernels(s))
    s.stop()
    metrics()
    limits()
    many_connections()
    slow_headers()
    trace()
    full_disk()
    loading()
    disks()


if __name__ == "__main__":
    run()
    finish()
