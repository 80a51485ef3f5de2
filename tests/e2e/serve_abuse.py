"""What no client should send: each is refused with a code that stays the same, soon, and the server goes on; connections that are idle,
slow or broken slow nobody, and memory stays bounded. Kills: a bad field that is taken, a crash, a hang, a body that is kept."""
import socket

from server import *  # noqa: F403

DEEP = 60000


def with_prompt(field, value):
    return {"prompt": "a", field: value}


def many(field, *values):
    return [with_prompt(field, v) for v in values]


def schemas(*all_):
    return many("guided_json", *all_)


# code: bodies for /v1/completions; bytes are sent as they are.
COMPLETIONS = {
    "invalid_json": [
        b"", b"[]", b"nonsense", b"NaN", b'{"prompt":"a"} x', b'{"prompt":"a"}{"prompt":"b"}', b"[" * 100000, b'{"prompt":' + b"[" * 100000,
        b'{"prompt":"\xff"}', b'{"prompt":"a","stop":"\xff"}', b'{"prompt":"a","stop":["\xed\xa0\x80"]}', b'{"prompt":"\xc0\x80"}', b'{"prompt":"\xed\xa0\x80"}', b'{"prompt":"\xf4\x90\x80\x80"}', b'{"prompt":"\\ud800"}',
        b'{"prompt":"a","max_tokens":01}', b'{"prompt":"a","temperature":NaN}', b'{"prompt":"a","temperature":+1}', b'{"prompt":"a\x01"}',
        b'{"prompt":[' + b"1," * 400000 + b"1]}", b'{"prompt":"a"', b'{"prompt":"a",}', b"{'prompt':'a'}"],
    "duplicate_parameter": [b'{"prompt":"a","prompt":"b"}', b'{"model":"llama","prompt":"a","model":"x"}', b'{"prompt":"a","n":1,"n":2}'],
    "missing_parameter": [{}, {"prompt": None}],
    "model_not_found": [{"model": "../../x", "prompt": "a"}, {"model": "", "prompt": "a"}],
    "context_length_exceeded": [{"prompt": list(range(3, 500)) + [1] * 400}, {"prompt": [5] * 512, "max_tokens": 1}, {"prompt": "x" * (1 << 20)}],
    "too_many_prompts": [{"prompt": ["a"] * 65}],
    "unsupported_parameter": many("best_of", 4) + many("suffix", "x") + many("guided_grammar", "root") + many("prompt_logprobs", 1),
    "invalid_value": many("max_tokens", -1, 1.5, "5", 2**31, 2**53 + 1, 1e300, [], {}) + many("temperature", -1, 1e9, "hot", True) + [
        b'{"prompt":"a","temperature":1e400}'] +
    many("top_p", -0.1, 2, "x") + many("top_k", -5, 1.5) + many("min_p", 2, -1) + many("n", 0, -1, 9, 10**6) + many("seed", 1.5, 2**64, "x") +
    many("stop", "", ["a"] * 1000, [1], ["x" * 300], {}, [""]) + many("logit_bias", {"99999999": 1}, {"x": 1}, {"1": 1e9}, {"-1": 1}, [1]) +
    many("logprobs", 10**6, -1, "x") + many("stream", "yes", 1) + many("echo", 1) + many("model", 5, [], "llama\0x") + many("stop_token_ids", [-1], [512], 3) +
    many("stream_options", 1, {}, {"include_usage": True}) + many("min_tokens", 17, -1) + [{"prompt": "a", "max_tokens": 3, "min_tokens": 4}] + many("timeout_ms", 0, -1) + many("priority", 1.5, "high", 2**31, []) + many("cache_salt", 5, "") +
    many("response_format", {"type": "sound"}, 3, {"type": "json_schema"}) + many("structured_outputs", {}, {"json": 3, "regex": "a"}, {"regex": "a", "choice": ["b"]}, {"choice": []}) +
    many("guided_choice", [], [1], 3) + many("repetition_penalty", 0, -1) + many("presence_penalty", 3) + many("frequency_penalty", -3) + [
        {"prompt": v} for v in ([], [-1], [512], [1.5], 5, {}, [[]], [["a"]], ["a", 1], [2**40])],
}
# What is wrong with a body, and where.
SAYS = [(b"", "empty"), (b"[]", "no object"), (b'{"prompt":"a",}', "no JSON, seen at byte 15"), (b'{"prompt":"a"', "ends too early, seen at byte 13"),
        (b'{"prompt":"\xff"}', "no UTF-8, seen at byte 11"), (b'{"prompt":"\\ud800"}', "surrogate pair, seen at byte 11"), (b"[" * 1000, "nested too deeply, seen at byte 129"),
        (b'{"prompt":[' + b"1," * 400000 + b"1]}", "too many values")]
ALTERNATIVES = {"$defs": {**{f"r{i}": {"$ref": f"#/$defs/r{i + 1}"} for i in range(5000)}, "r5000": {"type": "null"}}, "$ref": "#/$defs/r0"}
NESTED = {"type": "null"}
for _ in range(60):
    NESTED = {"type": "array", "items": NESTED}
for _ in range(40):
    NESTED = {"type": "array", "items": NESTED}

# Formats that cannot be held to, that nothing fits, or that would take too much.
FORMATS = {
    "unsupported_parameter": schemas(
        {"not": {}}, {"$ref": "http://x.org"}, {"type": "string", "format": "sound"}, {"if": {}, "then": {}}) +
    many("guided_regex", "(?<=x)a", "(?<=x)*", "a\\1", "(a)\\1"),
    "invalid_value": schemas(
        {"$ref": "#/nowhere"}, {"$ref": "#"}, {"type": "hiccup"}, {"type": 123}, {"allOf": [{"type": "string"}, {"type": "null"}]}, False,
        {"enum": []}, {"type": "string", "maxLength": 10**9}, {"enum": list(range(10**5))}, {"type": "object", "properties": 3}, {"type": "string", "minLength": 5, "maxLength": 2}, ALTERNATIVES,
        NESTED, {"type": "integer", "minimum": 3, "maximum": 2}, "{", 3) +
    many("guided_regex", "(a?b?c?){2000}", "(" * 4000, "(" * DEEP, "a{2,1000000000}", "^+[a-z]$", "^{2}x$", "[z-a]", "*", "a{5,2}", "(?P<", "\\", "[", "x" * 5000, 5),
    # Only where the answer has come to is it too much, and where all tokens that may come are needed, as for top-p.
    "format_too_complex": many("guided_regex", "x(a?){0,2000}") + [{"prompt": "a", "top_p": 0.9, "guided_regex": "(.{0,50}){20}"}] + many("structured_outputs", {"regex": "x(a?){0,2000}"}),
}
# Odd, and right: answered.
RIGHT = [b'{"prompt":"a\\u0000b","max_tokens":1}', b'{"prompt":"a","max_tokens":1,"n\\u0000":77}', b'{"prompt":"\\ud83d\\ude00","max_tokens":1}', {"prompt": "a", "seed": -1}, {"prompt": "a", "top_p": 0},
         {"prompt": "a", "temperature": 1e-9}, {"prompt": " " * 100}, {"prompt": "\u200d" * 40}, {"prompt": "e" + "\u0301" * 60}, {"prompt": "a", "user": "u" * (1 << 20)},
         {"prompt": "a", "n": 2, "stream": True}, {"prompt": "a", "echo": True, "n": 2}, {"prompt": "a", "echo": True, "stream": True}, {"prompt": "a", "unknown": [[[1]]]}, {"": 1, "prompt": "a"}, {"\u00e9\r\nX-A: b": 1, "prompt": "a"}, {"prompt": "a", "stop": None},
         *schemas(True, {}, {"type": "object", "properties": {'q"\\u00e9\n': {"type": "null"}}, "required": ['q"\\u00e9\n'], "additionalProperties": False})]

TALK = [{"role": "user", "content": "x"}]
TOOL = {"type": "function", "function": {"name": "f"}}


def chat(field, *values):
    return [{"messages": TALK, field: v} for v in values]


def said(*messages):
    return [{"messages": m} for m in messages]


# code: bodies for /v1/chat/completions of a model whose template takes tools.
CHATS = {
    "missing_parameter": [{}, {"messages": None}],
    "invalid_value": said([], {}, 123, [1], [{"role": "wizard", "content": "x"}], [{"role": "user"}], [{"role": "user", "content": 5}],
                          [{"role": "user", "content": None}], [[TALK]], [{"content": "x"}],
                          [{"role": "assistant", "tool_calls": [{"id": "1", "type": "custom", "function": {"name": "f", "arguments": "{}"}}]}],
                          [{"role": "assistant", "tool_calls": {}}], [{"role": "assistant", "tool_calls": ""}]) +
    chat("tools", [{"type": "function"}], 3, [TOOL] * 2, [{"type": "function", "function": {"name": "a b"}}], [TOOL] * 129) + chat("tool_choice", "required", "perhaps", 3, {"type": "function", "function": {"name": "nobody"}}) + chat("chat_template_kwargs", 1, {"messages": []}) +
    chat("top_logprobs", 3, 10**6) + chat("logprobs", 3) + chat("max_tokens", 0, -1),
    "too_many_messages": said(TALK * 4097),
    "unsupported_content": said([{"role": "user", "content": [{"type": "text"}]}], [{"role": "user", "content": [{"type": "audio"}]}], [{"role": "user", "content": [{"type": "image_url"}]}]),
    "unsupported_parameter": chat("functions", [{}]) + chat("audio", {"voice": "x"}) + chat("tools", [{"type": "magic"}], [1]) +
    chat("chat_template", "{{ 1 }}") + chat("documents", [{}]),
}
# A template that a model came with can do no harm either: the same code, soon.
TEMPLATES = ["{% for i in range(10**9) %}x{% endfor %}", "{{ 'a' * 10**9 }}", "{% if %}", "{{ x.__class__.__mro__ }}", "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
             "{% for a in range(30000) %}{% for b in range(30000) %}{% endfor %}{% endfor %}", "{% if true %}" * 300 + "{% endif %}" * 300, "{% if true %}" * 10000 + "{% endif %}" * 10000,
             "{% set ns = namespace() %}{% set ns.a = ns %}{{ ns | tojson }}", "{% set ns = namespace(a=[1]) %}{% set ns.a = ns.a * 10**9 %}{{ ns.a }}", "{{ messages[0].content"]

OTHERS = {
    ("/tokenize", "missing_parameter"): [{}], ("/tokenize", "invalid_json"): [b"{"], ("/tokenize", "invalid_value"): [{"content": 5}, {"content": "x", "add_special": 3}],
    ("/detokenize", "missing_parameter"): [{}, {"tokens": 3}], ("/detokenize", "invalid_value"): [{"tokens": [-1]}, {"tokens": [10**9]}, {"tokens": ["a"]}, {"tokens": [1.5]}],
    ("/apply-template", "missing_parameter"): [{}], ("/apply-template", "invalid_value"): [{"messages": 3}, {"messages": []}],
    ("/v1/embeddings", "unsupported"): [{"input": "x"}], ("/v1/artifacts", "model_not_found"): [{"model": "x"}],
}


WIRE = [  # what is sent, statuses that are right; None: the connection is closed without one
    ("lower-case method", b"get /livez HTTP/1.1\r\nHost: localhost\r\n\r\n", {400, 405, 501}),
    ("unknown method", b"BREW /livez HTTP/1.1\r\nHost: localhost\r\n\r\n", {400, 405, 501}),
    ("OPTIONS", b"OPTIONS /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n", {405}),
    ("no host", b"GET /livez HTTP/1.1\r\n\r\n", {400}),
    ("two hosts", b"GET /livez HTTP/1.1\r\nHost: localhost\r\nHost: evil\r\n\r\n", {200, 400, 403}),
    ("long path", b"GET /" + b"a" * 65536 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", {400, 404, 413, 414, 431, None}),
    ("many headers", b"GET /livez HTTP/1.1\r\nHost: localhost\r\n" + b"X-A: b\r\n" * 5000 + b"\r\n", {400, 413, 431, None}),
    ("NUL in the path", b"GET /liv\0ez HTTP/1.1\r\nHost: localhost\r\n\r\n", {400, 404}),
    ("NUL, escaped", b"GET /livez%00x HTTP/1.1\r\nHost: localhost\r\n\r\n", {400, 404}),
    ("path upwards", b"GET /v1/models/../../etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n", {400, 404}),
    ("bad chunk", POST + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffff1\r\n{}\r\n", {400, 413, None}),
    ("huge length", POST + b"Content-Length: 9000000000000000000\r\n\r\n", {400, 413}),
    ("negative length", POST + b"Content-Length: -5\r\n\r\n", {400, None}),
    ("length is no number", POST + b"Content-Length: x\r\n\r\n", {400, None}),
    ("upgrade", b"GET /livez HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", {200, 400}),
    ("HEAD", b"HEAD /livez HTTP/1.1\r\nHost: localhost\r\n\r\n", {200}),
    ("not HTTP", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 200, {400, None}),
    ("pipelined", b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n" * 100, {200}),
]


def finished(s, how):
    """Answers that ended so."""
    return int(re.search(rf'^sinter_requests_total{{model="llama",finish="{how}"}} (\d+)$', s.get("/metrics")[1].decode(), re.M)[1])


def resident(s):
    with open(f"/proc/{s.process.pid}/statm", encoding="ascii") as f:
        return int(f.read().split()[1]) * 4


def wire(s):
    before = resident(s)
    alone = quickest(s)
    for name, data, right in WIRE:
        with socket.create_connection(("127.0.0.1", s.port), timeout=5) as c:
            try:
                c.sendall(data)
                answer = c.recv(4096)
            except (ConnectionError, socket.timeout):
                answer = b""
        status = int(answer.split()[1]) if answer.startswith(b"HTTP/1.1 ") else None
        check(status in right, f"wire: {name}", answer[:100])
    with socket.create_connection(("127.0.0.1", s.port), timeout=5) as c:  # a body without end
        try:
            c.sendall(POST + b"Transfer-Encoding: chunked\r\n\r\n")
            for _ in range(320):
                c.sendall(b"10000\r\n" + b" " * 65536 + b"\r\n")
            answer = c.recv(100)
        except (ConnectionError, socket.timeout):
            answer = b""
        check(not answer or b" 413 " in answer or b" 400 " in answer, "wire: a body without end", answer)
    idle = [socket.create_connection(("127.0.0.1", s.port)) for _ in range(500)]
    for c in idle[:250]:
        c.sendall(b"GET /livez HT")
    slow = socket.create_connection(("127.0.0.1", s.port))  # asks for much, reads nothing
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    body = json.dumps({"prompt": [[5, 6]] * 64, "max_tokens": 400, "stream": True, "ignore_eos": True, "logprobs": 20}).encode()
    given_up = finished(s, "cancelled")
    slow.sendall(POST + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    beside = quickest(s)
    check(beside < 20 * alone + 1, "idle and slow clients stop nobody", (alone, beside))
    for _ in range(1200):
        if json.loads(s.get("/v1/requests")[1])["data"] == []:
            break
        time.sleep(0.05)
    for _ in range(100):
        if finished(s, "cancelled") > given_up:
            break
        time.sleep(0.02)
    check(finished(s, "cancelled") > given_up and json.loads(s.get("/v1/requests")[1])["data"] == [], "a reader that does not read is given up")
    for c in idle + [slow]:
        c.close()
    for left in (b"POST /v1/completions HTTP/1.1\r\nHost: lo", POST, POST + b"Content-Length: 100\r\n\r\n{", POST + b"Content-Length: 2\r\n\r\n{}"):
        with socket.create_connection(("127.0.0.1", s.port)) as c:
            c.sendall(left)
    check(s.get("/livez")[0] == 200, "the server goes on")
    check(resident(s) - before < 64 << 10, "memory stays bounded", (before, resident(s)))




def refused(s, path, code, bodies, model=None):
    """Each with this code and a message, within a second."""
    for b in bodies:
        body = b if isinstance(b, bytes) else json.dumps({"model": model, **b} if model else b).encode()
        for _ in range(3):  # others on the machine may take a second, too
            started = time.time()
            status, _, answer = s.send("POST", path, body, {"Content-Type": "application/json"})
            if time.time() - started < 1:
                break
        try:
            error = json.loads(answer)["error"]
        except (ValueError, KeyError):
            error = {}
        check(400 <= status < 500 and error.get("code") == code and error.get("message"), f"{path} {body[:80]!r}: {code}", (status, answer[:300]))
        check(time.time() - started < 1, f"{path} {body[:80]!r}: soon", time.time() - started)


def completions(s):
    """s: a server that has answered little so far. Its memory kills glibc's own bounds of what a thread may keep (20 MiB to 130), and trees of single nodes (33)."""
    before = resident(s)
    for table in (COMPLETIONS, FORMATS):
        for code, bodies in table.items():
            refused(s, "/v1/completions", code, bodies)
    for body, says in SAYS:
        message = json.loads(s.send("POST", "/v1/completions", body, {"Content-Type": "application/json"})[2])["error"]["message"]
        check(says in message, f"{body[:30]!r}: what is wrong", message)
    for b in RIGHT:
        body = b if isinstance(b, bytes) else json.dumps({"max_tokens": 2, **b}).encode()
        status, _, answer = s.send("POST", "/v1/completions", body, {"Content-Type": "application/json"})
        check(status == 200, f"odd, and right: {body[:80]!r}", (status, answer[:300]))
    check(s.idle() and resident(s) - before < 16 << 10, "bad requests leave nothing behind", (before, resident(s)))


def chats(s):
    """s: a server with the models hermes, llama3 and llama."""
    for code, bodies in CHATS.items():
        refused(s, "/v1/chat/completions", code, bodies, "hermes")
    for (path, code), bodies in OTHERS.items():
        refused(s, path, code, bodies, "hermes")
    ask = [{"role": "user", "content": "{{ 7 * 7 }}<|endoftext|></s>"}]
    text = s.post("/apply-template", model="hermes", messages=ask)[1]["prompt"]
    check("{{ 7 * 7 }}" in text, "a message is no template", text)
    plain = s.post("/tokenize", model="hermes", content="</s>", add_special=False)[1]["tokens"]
    check(s.post("/v1/chat/completions", model="hermes", messages=ask, max_tokens=1)[0] == 200, "a message with a special token's text", plain)


def templates():
    """Models whose templates are hostile, in one server."""
    folder = os.path.join(TEMP.name, "hostile")
    os.makedirs(folder)
    for i, t in enumerate(TEMPLATES):
        os.rename(templated(f"hostile-{i}", t), os.path.join(folder, f"t{i}"))
    s = Server("--models-dir", folder)
    for i, t in enumerate(TEMPLATES):
        s.post("/v1/artifacts", model=f"t{i}")
        status, r = s.post("/v1/chat/completions", model=f"t{i}", messages=TALK, max_tokens=1)
        if status == 500 and r["error"]["code"] == "load_failed":
            continue  # refused when it was read
        refused(s, "/v1/chat/completions", "invalid_value", [{"messages": TALK, "max_tokens": 1}], f"t{i}")
    check(s.get("/livez")[0] == 200, "hostile templates: the server goes on")
    s.stop()
