"""Models that come and go: --models-dir, load and unload while requests run, idle unload; many connections at once."""
import concurrent.futures
import os
import random
import re
import socket
import subprocess
import threading

from server import *  # noqa: F403

ASKS = [{"prompt": [5, 6, 7 + i], "max_tokens": 5 + 7 * i, "temperature": 0.7, "seed": i, "ignore_eos": True} for i in range(8)]


def stage(s, name):
    return json.loads(s.get("/v1/models/" + name)[1])["stage"]


def wait_for(s, name, want):
    for _ in range(200):
        if stage(s, name) == want:
            return True
        time.sleep(0.02)
    return False


def artifact_of(s, name):
    return next((a["id"] for a in json.loads(s.get("/v1/artifacts")[1])["data"] if a["model"] == name), None)


def answers(s, model):
    return [s.post("/v1/completions", model=model, **a)[1].get("choices") for a in ASKS]


def experts(s, folder):
    """Kills: counts of another layer or model, a prompt that is not counted, a token that is counted twice."""
    os.symlink(os.path.join(GOLDEN, "mixtral"), os.path.join(folder, "m"))
    check(s.get("/v1/experts/m")[0] == 404, "experts: a model that is not there yet")
    s.post("/v1/completions", model="m", prompt=[5, 6, 7], max_tokens=6, temperature=0, ignore_eos=True)
    status, loads = s.get("/v1/experts/m")
    want = os.path.join(TEMP.name, "experts.loads")
    sinter("run", os.path.join(GOLDEN, "mixtral"), "--ids", "5,6,7", "-n", 6, "--ignore-eos", "--json", "--quiet", "--loads", want)
    with open(want, "rb") as f:
        check(status == 200 and loads == f.read(), "experts: a server counts as `run --loads` does", loads[:200])
    status, r = s.get("/v1/experts/a")
    check(status == 404 and json.loads(r)["error"]["code"] == "no_experts", "experts: a model without", r)


def coming_and_going():
    """Kills: a model that is closed under a request, an answer of another model, a waiting client that is forgotten, a folder that is no model."""
    folder = os.path.join(TEMP.name, "models")
    os.makedirs(folder)
    os.symlink(SMALL, os.path.join(folder, "a"))
    os.symlink(os.path.join(GOLDEN, "qwen2"), os.path.join(folder, "b"))
    with open(os.path.join(folder, "bad.gguf"), "wb") as f:
        f.write(b"GGUF nonsense")
    os.makedirs(os.path.join(folder, "ggufs"))  # no checkpoint: such a folder would be listed and fail to load
    for name in ("config.json", "x.gguf"):
        open(os.path.join(folder, "ggufs", name), "w").close()
    s = Server("--models-dir", folder)
    check({m["id"]: m["stage"] for m in json.loads(s.get("/v1/models")[1])["data"]} == {n: "unloaded" for n in ("a", "b", "bad")}, "models: all are there, none is loaded")
    with concurrent.futures.ThreadPoolExecutor(8) as pool:  # all eight wait for the same load
        first = list(pool.map(lambda a: s.post("/v1/completions", model="a", **a)[1].get("choices"), ASKS))
    check(first == answers(s, "a") and all(first), "models: who waited for the load gets the answer of later ones", first)
    run = sinter_json("run", SMALL, "--ids", "5,6,7", "-n", 5, "--temp", 0.7, "--seed", 0, "--ignore-eos", "--quiet")
    check(first[0][0]["text"] == run["text"], "models: the answer of the command", run)
    other = answers(s, "b")
    check(all(other) and other != first, "models: each has its own answers")
    status, r = s.post("/v1/completions", model="bad", prompt="x")
    check(status == 500 and r["error"]["code"] == "load_failed" and s.post("/v1/completions", model="bad", prompt="x")[0] == 500, "models: a bad file", r)
    check(s.post("/v1/completions", prompt="x")[0] == 400 and s.post("/v1/completions", model="c", prompt="x")[0] == 404, "models: which one")
    os.symlink(SMALL, os.path.join(folder, "c"))
    status, r = s.post("/v1/artifacts", model="c")
    check(status == 200 and r["model"] == "c" and r["id"].startswith("blake2b:") and stage(s, "c") == "ready", "models: one that came later is loaded", r)
    experts(s, folder)
    # Streams under way hold their model; who comes behind the unload waits for it to come back.
    body = json.dumps({"model": "b", **ASKS[3], "max_tokens": 300, "stream": True}).encode()
    streams = [socket.create_connection(("127.0.0.1", s.port)) for _ in range(6)]
    for c in streams:
        c.sendall(POST + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    heads = [c.recv(200) for c in streams]
    gone = s.send("DELETE", "/v1/artifacts/" + artifact_of(s, "b"))[0]
    late = s.post("/v1/completions", model="b", **ASKS[0])[1].get("choices")
    whole = [h + drain(c) for h, c in zip(heads, streams)]
    check(gone == 202 and all(w.rstrip().endswith(b"0") and b"data: [DONE]" in w for w in whole), "models: streams end whole while their model is told to go", [w[-80:] for w in whole])
    check(late == other[0], "models: behind the unload comes a load", late)
    stop = threading.Event()

    def unload():
        while not stop.is_set():
            for name in ("a", "b"):
                found = artifact_of(s, name)
                if found:
                    s.send("DELETE", "/v1/artifacts/" + found)
            time.sleep(0.03)
    unloader = threading.Thread(target=unload)
    unloader.start()
    rng = random.Random(1)
    picks = [(rng.choice("ab"), rng.randrange(len(ASKS))) for _ in range(60)]
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        same = list(pool.map(lambda p: s.post("/v1/completions", model=p[0], **ASKS[p[1]])[1].get("choices") == (first if p[0] == "a" else other)[p[1]], picks))
    stop.set()
    unloader.join()
    check(all(same), "models: requests while models come and go", [p for p, ok in zip(picks, same) if not ok])
    check(s.send("DELETE", "/v1/artifacts/blake2b:00")[0] == 404, "models: an artifact that is not there")
    s.stop()
    sinter("serve", expect=2)
    sinter("serve", "--models-dir", os.path.join(TEMP.name, "absent"), "--port", free_port(), expect=1)


def drain(c):
    out = b""
    c.settimeout(20)
    while not out.endswith(b"0\r\n\r\n"):
        piece = c.recv(65536)
        if not piece:
            break
        out += piece
    c.close()
    return out


def gone_files(folder):
    """Kills: a model that is offered after its file has gone, or not again once it is back."""
    s = Server("--models-dir", folder)
    names = lambda: sorted(m["id"] for m in json.loads(s.get("/v1/models")[1])["data"])
    os.rename(os.path.join(folder, "bad.gguf"), os.path.join(folder, ".away"))
    check("bad" not in names() and s.get("/v1/models/bad")[0] == 404, "models: a file that has gone is not offered", names())
    os.rename(os.path.join(folder, ".away"), os.path.join(folder, "bad.gguf"))
    check("bad" in names() and s.get("/v1/models/bad")[0] == 200, "models: it is again once it is back", names())
    s.stop()


def refused(what, cause, *args, env=None):
    """The command ends before it listens, with the cause and a remedy."""
    try:
        p = subprocess.run([SINTER, "serve", *args, "--port", str(free_port())], capture_output=True, text=True, timeout=60,
                           env={**os.environ, **(env or {})})
    except subprocess.TimeoutExpired:
        check(False, what, "it serves")
        return
    check(p.returncode == 1 and cause in p.stderr and "\n  try: " in p.stderr and "listen" not in p.stderr, what, f"{p.returncode}: {p.stderr}")


def keys():
    """Kills: a line break of a mounted secret that becomes a part of the key."""
    s = Server(SMALL, env={"SINTER_API_KEY": "one\r\ntwo\n"})
    answer = lambda key: s.get("/v1/models", Authorization="Bearer " + key)[0]
    sinter("top", "--port", s.port, env={"SINTER_API_KEY": "two\r\none\n"})
    check([answer(k) for k in ("one", "two", "onetwo", "", "three")] == [200, 200, 401, 401, 401], "keys: a line each, by environment")
    s.stop()


def refusals():
    """Kills: a server that listens before it looks for its model; a folder, or a file without a key, that counts as keys."""
    refused("a model that is not there", "nonexistent", SMALL, "/nonexistent/model.gguf")
    refused("a folder of keys", "it is a folder", SMALL, "--api-key-file", TEMP.name, env={"SINTER_API_KEY": "x"})
    empty = os.path.join(TEMP.name, "no-keys")
    os.close(os.open(empty, os.O_CREAT, 0o600))
    refused("a key of nothing", "there is none in it", SMALL, env={"SINTER_API_KEY": "\r\n\n"})
    refused("no key in the file", "there is none in it", SMALL, "--api-key-file", empty, env={"SINTER_API_KEY": "x"})


def named_loads():
    """Kills: progress of two loads that cannot be told apart."""
    s = Server(SMALL, os.path.join(GOLDEN, "qwen2"), env={"SINTER_CACHE": os.path.join(TEMP.name, "two")})
    lines = s.errors().splitlines()
    check(all(any(line.startswith("done ") and name + ": " in line for line in lines) for name in ("llama", "qwen2")), "loads say of which model", lines)
    s.stop()


def comes_back(s, path, first):
    """A load that fails after the model was idle. Kills: a server that ends by it; one that calls itself ready; a model given up for good."""
    os.rename(path, path + ".away")
    status, r = s.post("/v1/completions", model="mine", **ASKS[0])
    ready, doc = s.get("/readyz")
    doc = json.loads(doc)
    check(status == 500 and r["error"]["code"] == "load_failed" and stage(s, "mine") == "failed", "a later load fails: it is said", r)
    check(ready == 503 and doc["status"] == "failed" and doc["model"] == "mine", "a later load fails: not ready", doc)
    os.rename(path + ".away", path)
    check(answers(s, "mine") == first and s.get("/readyz")[0] == 200, "the file is back, and so is the model", s.errors())


def idle():
    path = os.path.join(TEMP.name, "mine")
    os.symlink(SMALL, path)
    s = Server(path, "--idle-unload", "1")
    first = answers(s, "mine")
    check(stage(s, "mine") == "ready" and wait_for(s, "mine", "unloaded"), "idle: the model goes")
    check(s.get("/readyz")[0] == 200 and artifact_of(s, "mine") is None, "idle: the server stays ready")
    comes_back(s, path, first)
    s.stop()


def counters(s):
    """Every row of /metrics that may not fall."""
    text = s.get("/metrics")[1].decode()
    names = re.findall(r"^# TYPE (\S+) (counter|histogram)$", text, re.M)
    rows = dict(re.findall(r"^([^#\s]\S*?\{.*\}) (\S+)$", text, re.M))
    return {row: float(v) for row, v in rows.items() if any(re.match(name + ("{" if kind == "counter" else "_(bucket|sum|count){"), row) for name, kind in names)}


def counted():
    """Kills: counters of an engine that begin anew with the next one, or count the earlier one twice; gauges that add up."""
    s = Server(SMALL, "--device", "mock-cuda", "--speculate", "3", "--kv-tokens", "256", "--max-sequences", "2", "--metrics-compat", "vllm")

    def ask():  # any two of them together have no room
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            codes = pool.map(lambda i: s.post("/v1/completions", prompt=[5, 6, 7 + i] * 30, max_tokens=80, temperature=i % 2, seed=i, ignore_eos=True)[0], range(4))
            check(set(codes) == {200}, "counters: answers")
        return s.settled("llama")["steps_total"], counters(s)
    (steps, first), gone = ask(), None
    engines = [f"sinter_{n}_total" for n in ("drafted_tokens", "accepted_tokens", "swapped_out_tokens", "swapped_in_tokens", "device_sampled_tokens", "steps", "segments", "launches")]
    zero = [r for r in first if re.match("|".join(engines) + r"|sinter_preempted_total.*swapped|sinter_(prefill|decode)_seconds", r) and not first[r]]
    check(not zero, "counters: all of the engine counted", zero)
    for _ in range(2):  # the second engine does nothing
        s.post("/v1/artifacts", model="llama")
        s.send("DELETE", "/v1/artifacts/" + artifact_of(s, "llama"))
        check(wait_for(s, "llama", "unloaded"), "counters: the model goes")
        gone = counters(s)
        check(set(first) <= set(gone) and not [r for r in first if gone[r] < first[r]], "counters: none falls when the model goes", {r: (first[r], gone.get(r)) for r in first if gone.get(r, -1) < first[r]})
        check(all(gone[f'{n}{{model="llama"}}'] == first[f'{n}{{model="llama"}}'] for n in engines), "counters: nor does one rise", gone)
        check(s.settled("llama")["kv_tokens_total"] == 0 and s.settled("llama")["sequences_running"] == 0, "counters: nothing is held", s.settled("llama"))
    again_steps, again = ask()
    check(not [r for r in gone if again[r] < gone[r]] and steps < again_steps < 3 * steps, "counters: they go on with the next engine", (steps, again_steps, {r: (gone[r], again[r]) for r in gone if again[r] < gone[r]}))
    s.stop()


def connections():
    """512 streams at once without loss, 2,000 idle connections beside them."""
    s = Server(SMALL)
    alone = quickest(s)
    quiet = [socket.create_connection(("127.0.0.1", s.port)) for _ in range(2000)]
    body = json.dumps({"prompt": [5, 6], "max_tokens": 24, "temperature": 0, "ignore_eos": True, "stream": True}).encode()
    streams = [socket.create_connection(("127.0.0.1", s.port)) for _ in range(512)]
    for c in streams:
        c.sendall(POST + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    # Ids and times differ; the pieces of text may not.
    texts = {tuple(re.findall(rb'"text":"((?:[^"\\]|\\.)*)"', drain(c))) for c in streams}
    check(len(texts) == 1 and len(b"".join(texts.copy().pop())) > 10, "512 streams, one answer", len(texts))
    beside = quickest(s)
    check(beside < 3 * alone + 0.05, "2,000 idle connections slow nobody", (alone, beside))
    for c in quiet:
        c.close()
    check(s.idle() and s.settled("llama")["kv_tokens_used"] == 0, "512 streams: nothing is left")
    s.stop()


def run():
    refusals()
    keys()
    coming_and_going()
    gone_files(os.path.join(TEMP.name, "models"))
    named_loads()
    idle()
    counted()
    connections()


if __name__ == "__main__":
    run()
    finish()
