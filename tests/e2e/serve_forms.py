"""The fine print of answers, as clients read it: fields that others give, too, items of /v1/responses, bytes behind log-probabilities,
what usage counts, calls of strict tools, fields that cannot be obeyed. Alone: `tests/e2e/serve_forms.py`, which plants of
tests/mutations/mutations.def run. Kills: an item that calls itself whole, ids that a stream and its end do not share, tokens that are
counted twice or in the wrong part, a strict tool whose arguments are only hoped for, a field that is left out in silence."""
import concurrent.futures
import http.client
import inspect

from server import *  # noqa: F403

import jsonschema  # noqa: E402
import openai  # noqa: E402

TALK = [{"role": "user", "content": "hello"}]
PLACE = {"type": "object", "properties": {"city": {"enum": ["Oslo", "Rome"]}, "days": {"type": "integer", "minimum": 1, "maximum": 5}},
         "required": ["city", "days"], "additionalProperties": False}
TOOLS = [{"type": "function", "function": {"name": "weather", "strict": True, "parameters": PLACE}}, {"type": "function", "function": {"name": "now"}}]
FLAT = [{"type": "function", **t["function"]} for t in TOOLS]
ONE, TWO = '{"name": "weather", "arguments": {"city": "Oslo", "days": 2}}', '{"name": "now", "arguments": {}}'


def call(text):
    return f"<tool_call>\n{text}\n</tool_call>"


def models(s, folder):
    listed = json.loads(s.get("/v1/models")[1])["data"]
    made = int(os.stat(folder).st_mtime)
    check([m["created"] for m in listed][:1] == [made] == [json.loads(s.get("/v1/models/hermes")[1])["created"]], "models: when they were made", (listed, made))


def logprobs(s, c):
    """Kills: bytes of the sign that stands for half a character."""
    text = "\U0001f642é漢"
    ask = dict(model="hermes", messages=TALK, logprobs=True, top_logprobs=2, temperature=0, max_tokens=60, extra_body={"guided_choice": [text]})
    whole = c.chat.completions.create(**ask).choices[0]
    streamed = [t for x in c.chat.completions.create(**ask, stream=True) for y in x.choices if y.logprobs for t in y.logprobs.content]
    for tokens in (whole.logprobs.content, streamed):
        check(bytes(b for t in tokens for b in t.bytes).decode(errors="replace") == text == whole.message.content, "logprobs: bytes make the text", tokens)
    check(all(t.top_logprobs[0].logprob >= t.top_logprobs[1].logprob and len(t.top_logprobs) == 2 for t in streamed), "logprobs: the likeliest", streamed)
    check(whole.logprobs.refusal is None and "refusal" in whole.logprobs.model_fields_set, "logprobs: refusal is null", whole.logprobs)


def top_logprobs(c):
    """Kills: a token that is not among its own alternatives."""
    for n in (0, 2):
        for echo in (False, True):
            r = c.completions.create(model="hermes", prompt=[5, 6, 7, 8], max_tokens=6, logprobs=n, echo=echo, temperature=5, seed=3, extra_body={"ignore_eos": True})
            p = r.choices[0].logprobs
            for token, logprob, tops in list(zip(p.tokens, p.token_logprobs, p.top_logprobs))[int(echo):]:
                check(abs(tops.get(token, 9) - logprob) < 1e-6 and len(tops) <= n + 1, f"logprobs {n}, echo {echo}: the token is among them", (token, logprob, tops))


def places(s, c):
    """Tokens stand in the text where text_offset says. Kills: a token in the middle of a text, or an answer that goes on with one, that
    loses its space; an offset that counts half a character as one, or the name of a token that the text does not show; an echo without the
    special tokens that were written."""
    ask = lambda model, prompt, **more: c.completions.create(model=model, prompt=prompt, logprobs=2, temperature=0, extra_body={"ignore_eos": True}, **more).choices[0]
    for model, bos, prompts in (("mixtral", "<s>", ()), ("hermes", "<|bos|>", ("Hi <|eos|>you<|eos|> there",))):
        for prompt in ("Hi there, you two", "Hi ö漢 you", *prompts):
            r = ask(model, prompt, max_tokens=0, echo=True)
            p = list(zip(r.logprobs.tokens, r.logprobs.text_offset))[1:]
            check(r.text == prompt and all(t.startswith("bytes:") or prompt[at:at + len(t)] == t for t, at in p), f"places: {model}, {prompt}", (r.text, p))
            check((r.logprobs.tokens[0], r.logprobs.text_offset[:2]) == (bos, [0, 0]), "places: what the tokenizer adds is not in the text", r.logprobs)
        word = s.post("/tokenize", model=model, content="x t", with_pieces=True)[1]["tokens"][-1]
        for more in ({}, {"echo": True}):
            r = ask(model, "Hi", max_tokens=3, logit_bias={str(word["id"]): 100}, **more)
            check(word["piece"] == " t" and r.text == "Hi" * len(more) + " t" * 3 and r.logprobs.tokens[-3:] == [" t"] * 3, f"places: {model} goes on with {more}", (word, r))
            check([r.text[at:at + 2] for at in r.logprobs.text_offset[-3:]] == [" t"] * 3 or not more, "places: of an answer", r.logprobs.text_offset)


def alike(c):
    """Kills: members of one name in top_logprobs, of which a client sees the last; halves of characters that cannot be told apart."""
    seen = halves = 0
    for model in ("mixtral", "hermes"):
        raw = c.completions.with_raw_response.create(model=model, prompt=[5, 6, 7], max_tokens=60, logprobs=20, temperature=2, seed=2, extra_body={"ignore_eos": True}).text
        twice = []
        p = json.loads(raw, object_pairs_hook=lambda m: twice.extend({k for k, _ in m if [n for n, _ in m].count(k) > 1}) or dict(m))["choices"][0]["logprobs"]
        check(not twice, f"alike: {model} has each name once", twice)
        for token, logprob, tops in zip(p["tokens"], p["token_logprobs"], p["top_logprobs"]):
            check(tops[token] == logprob and list(tops.values())[:-1] == sorted(list(tops.values())[:-1], reverse=True), "alike: the token itself, and the likeliest", tops)
            seen, halves = seen + (len(tops) < 20), halves + token.startswith("bytes:\\x")
        text = b"".join(bytes.fromhex(t[6:].replace("\\x", "")) if t.startswith("bytes:") else t.encode() for t in p["tokens"])
        check(halves and len(text) >= 60, f"alike: bytes of {model}", p["tokens"])
    check(seen, "alike: some tokens are spelled alike")


def first_spaces(c):
    """What a format demands is what is shown. Kills: a space at the begin of an answer that its grammar counts and its text does not have."""
    for model in ("mixtral", "hermes"):
        for text in (" a", "  a", "a ", " ", " [1]"):
            for seed in range(4):
                ask = dict(model=model, prompt="Hi", max_tokens=40, seed=seed, temperature=1, extra_body={"guided_choice": [text]})
                check(c.completions.create(**ask).choices[0].text == text, f"first spaces: {text!r} of {model}", c.completions.create(**ask))


def least(s):
    """min_tokens, as vLLM has it: no end before. Kills: an answer that ends by itself too early, one that cannot end any more, a
    demanded format that is held up."""
    eos = s.post("/tokenize", model="hermes", content="<|eos|>")[1]["tokens"]
    ask = lambda **more: s.post("/v1/completions", **{"model": "hermes", "prompt": "Hi", "max_tokens": 30, "temperature": 0, "logit_bias": {str(eos[0]): 100}, **more})[1]
    for n in (0, 1, 7, 30):
        r = ask(min_tokens=n)
        check((r["usage"]["completion_tokens"], r["choices"][0]["finish_reason"]) == ((n + 1, "stop") if n < 30 else (30, "length")), f"min_tokens {n}", r)
    context = json.loads(s.get("/v1/models/hermes")[1])["context_length"]
    for r in (ask(min_tokens=31), ask(min_tokens=5, max_tokens=4), s.post("/v1/chat/completions", model="hermes", messages=TALK, min_tokens=context)[1]):
        check(r.get("error", {}).get("param") == "min_tokens" and r["error"]["code"] == "invalid_value", "min_tokens: no room", r)
    r = ask(min_tokens=20, guided_choice=["abc"])
    check(len(eos) == 1 and r["choices"][0]["text"] == "abc" and r["choices"][0]["finish_reason"] == "stop", "min_tokens: a format may end", r)


def least_top_p(s):
    """top_p 0 is the likeliest only, as OpenAI has it. Kills: a 0 that stands for no limit."""
    ask = lambda **more: s.post("/v1/completions", model="hermes", prompt="Hi", max_tokens=20, ignore_eos=True, **more)[1]["choices"][0]["text"]
    check([ask(temperature=3, seed=i, top_p=0) for i in range(4)] == [ask(temperature=0)] * 4, "top_p 0")


def scored(s):
    """Kills: a prompt that is refused for a token that nobody asked for."""
    context = json.loads(s.get("/v1/models/hermes")[1])["context_length"]
    for n, want in ((context, 200), (context + 1, 400)):
        status, r = s.post("/v1/completions", model="hermes", prompt=[5] * n, max_tokens=0, echo=True)
        check(status == want and (want == 200 or "and 0 are to follow" in r["error"]["message"]), f"a prompt of {n} alone", str(r)[:300])


def joined(chunks):
    """What a client puts together of a stream: (text, logprobs, why it ended) by index, and the first part of each."""
    parts = {}
    for x in chunks:
        for choice in x.choices:
            parts.setdefault(choice.index, []).append(choice)
    lists = lambda of: of and [of.tokens, of.token_logprobs, of.top_logprobs, of.text_offset]
    add = lambda all_: None if all_[0] is None else [sum(one, []) for one in zip(*all_)]
    ends = {i: [p.finish_reason for p in got] for i, got in parts.items()}
    check(all(e[-1] and not any(e[:-1]) for e in ends.values()), "stream: each answer ends once", ends)
    return {i: ("".join(p.text for p in got), add([lists(p.logprobs) for p in got]), ends[i][-1]) for i, got in parts.items()}, \
        {i: (got[0].text, lists(got[0].logprobs)) for i, got in sorted(parts.items())}


def streamed_echo(c):
    """echo in a stream: it adds up to the whole answer, and the prompt comes first with all its log-probabilities. Kills: a prompt
    that is left out, comes late, twice or without a part of its scores; a stop string that is looked for in it."""
    for prompt, n, most, probs in [(p, n, most, probs) for p in ([5, 6, 7, 8], "h\u00e9llo, \u6f22", [[9, 8], "x"], [5], list(range(3, 260)))
                                   for n in (1, 2) for most in (0, 1, 9) for probs in (None, 0, 2)]:
        ask = dict(model="hermes", prompt=prompt, n=n, max_tokens=most, logprobs=probs, echo=True, temperature=3, seed=3, stop=["l", "8"], extra_body={"ignore_eos": True})
        whole = c.completions.create(**ask)
        bare = c.completions.create(**{**ask, "max_tokens": 0})
        chunks = list(c.completions.create(**ask, stream=True, stream_options={"include_usage": True}))
        got, first = joined(chunks)
        want = lambda r: {x.index: (x.text, x.logprobs and [x.logprobs.tokens, x.logprobs.token_logprobs, x.logprobs.top_logprobs, x.logprobs.text_offset]) for x in r.choices}
        check({i: g[:2] for i, g in got.items()} == want(whole) and [g[2] for _, g in sorted(got.items())] == [x.finish_reason for x in whole.choices],
              f"echo in a stream: {str(prompt)[:20]}, n {n}, max_tokens {most}, logprobs {probs}", (want(whole), got))
        check(first == want(bare), "echo in a stream: the prompt comes first", (want(bare), first))
        check((chunks[-1].usage.prompt_tokens, chunks[-1].usage.completion_tokens) == (whole.usage.prompt_tokens, whole.usage.completion_tokens), "echo in a stream: usage", chunks[-1].usage)


def large_echo(folder):
    """A prompt's log-probabilities come all at once, however little a slow reader may leave unread. Kills: a prompt that counts as unread."""
    s = Server(folder, "--limit", "unread_bytes=4096")
    ask = dict(model="hermes", prompt=list(range(3, 503)), n=8, max_tokens=3, logprobs=20, echo=True, temperature=0, ignore_eos=True)
    want = [x["logprobs"]["token_logprobs"] for x in s.post("/v1/completions", **ask)[1]["choices"]]
    try:
        body = s.send("POST", "/v1/completions", json.dumps({**ask, "stream": True}))[2].decode()
    except http.client.IncompleteRead as cut:
        body = cut.partial.decode()
    whole = body.endswith("data: [DONE]\n\n")
    rows = [json.loads(line[6:])["choices"][0] for line in body.split("\n\n") if line.startswith("data: {") and whole]
    check(whole and [sum((r["logprobs"]["token_logprobs"] for r in rows if r["index"] == i), []) for i in range(8)] == want, "a large echo", body[-300:])
    s.stop()


def usage(s, c):
    """Kills: a cached prompt that counts for each of its answers; tokens of reasoning that are counted behind it."""
    ask = dict(model="hermes", messages=[{"role": "user", "content": "x" * 300}], max_tokens=4, n=4, extra_body={"ignore_eos": True, "cache_salt": "n"})
    for want in (lambda u: u.prompt_tokens_details.cached_tokens == 0, lambda u: 0 < u.prompt_tokens_details.cached_tokens < u.prompt_tokens):
        r = c.chat.completions.create(**ask)
        check(want(r.usage) and r.usage.completion_tokens == 16 and r.timings["prompt_n"] == r.usage.prompt_tokens - r.timings["cache_n"], "usage: cached tokens", r.usage)
    # All of an answer is reasoning, a part of it, nothing.
    for text, fits in (("<think>only thought", lambda r, n: n / 2 < r <= n), ("<think>a</think>and quite a lot more than that", lambda r, n: 0 < r < n / 2),
                       ("<tool_call>what?</tool_call> no", lambda r, n: r == 0)):
        ask = dict(model="hermes", messages=TALK, temperature=0, max_tokens=100, extra_body={"guided_choice": [text]})
        usages = [c.chat.completions.create(**ask).usage, list(c.chat.completions.create(**ask, stream=True, stream_options={"include_usage": True}))[-1].usage]
        check(all(fits(u.completion_tokens_details.reasoning_tokens, u.completion_tokens) for u in usages) and usages[0].completion_tokens_details ==
              usages[1].completion_tokens_details, f"usage: reasoning tokens of {text[:20]!r}", usages)


def headers(s):
    """Kills: an answer that its request cannot be found by; a page of another site that asks this machine's server."""
    body = json.dumps({"model": "hermes", "prompt": "a", "max_tokens": 1})
    for more, want in (({}, None), ({"X-Request-Id": "mine-7"}, "mine-7")):
        status, got, answer = s.send("POST", "/v1/completions", body, {"Content-Type": "application/json", **more})
        check(status == 200 and got["X-Request-Id"] == (want or json.loads(answer)["id"]), "headers: a request's id", got)
    for origin, want in (("http://evil.example", 403), ("null", 403), ("http://localhost.evil.example", 403), ("http://localhost:3000", 200), ("http://127.0.0.1", 200)):
        status, _, answer = s.send("POST", "/v1/completions", body, {"Content-Type": "application/json", "Origin": origin})
        check(status == want and (want == 200 or json.loads(answer)["error"]["code"] == "foreign_origin"), f"headers: a page of {origin}", (status, answer))


def tokens(s):
    """Kills: a piece that is not its token's, a chat whose tokens are not those of its prompt, a wish that is left out in silence."""
    text = "hi \U0001f642é"
    ask = lambda **more: s.post("/tokenize", model="hermes", **more)[1]
    plain = ask(content=text)["tokens"]
    pieces, strings = ask(content=text, with_pieces=True)["tokens"], ask(prompt=text, add_special_tokens=False, return_token_strs=True)
    joined = b"".join(p["piece"].encode() if isinstance(p["piece"], str) else bytes(p["piece"]) for p in pieces)
    check([p["id"] for p in pieces] == plain and joined.decode() == text, "tokenize: pieces", pieces)
    check(any(isinstance(p["piece"], list) for p in pieces), "tokenize: half a character is bytes", pieces)
    check(strings["tokens"] == plain and len(strings["token_strs"]) == len(plain) and "hi" in "".join(strings["token_strs"]), "tokenize: strings", strings)
    chat = ask(messages=TALK, return_token_strs=True)
    used = s.post("/v1/chat/completions", model="hermes", messages=TALK, max_tokens=1)[1]["usage"]["prompt_tokens"]
    check(chat["count"] == len(chat["tokens"]) == len(chat["token_strs"]) == used, "tokenize: a chat", (chat, used))
    for bad in ({"content": "x", "with_pieces": 1}, {"prompt": "x", "return_token_strs": "yes"}, {"messages": 3}):
        status, r = s.post("/tokenize", model="hermes", **bad)
        check(status == 400 and r["error"]["param"] in bad, f"tokenize: {bad}", r)


def messages(s):
    def prompt(*parts):
        return s.post("/apply-template", model="hermes", messages=[{"role": "user", "content": list(parts)}])[1]["prompt"]
    one, two = {"type": "text", "text": "one"}, {"type": "text", "text": "two"}
    answer = [{"role": "assistant", "content": [{"type": "refusal", "refusal": "not that"}]}]
    text = s.post("/apply-template", model="hermes", messages=TALK + answer)[1]["prompt"]
    check("not that" in text, "messages: a refusal is what was said", text)
    check("one\ntwo" in prompt(one, two) and "one\n" not in prompt(one), "messages: parts are lines", prompt(one, two))


def table():
    with open(os.path.join(ROOT, "tools", "sinter", "serve", "params.def"), encoding="utf-8") as f:
        rows = re.findall(r"^(NUM|FLAG|OWN|SKIP|NOT)\((\w+), (.*)\)$", f.read(), re.M)
    sets = {"ALL": "CHAT TEXT RESP", "BOTH": "CHAT TEXT", "TALK": "CHAT RESP", "ANY": "CHAT TEXT RESP EMBED"}
    for kind, name, rest in rows:
        fields = re.split(r', (?=(?:[^"]*"[^"]*")*[^"]*$)', rest)
        on = next(f for f in fields if re.fullmatch(r"(?:[A-Z]{3,}(?: \| )?)+", f) and f not in ("INT", "FLOAT"))
        yield kind, name, {e for part in on.split(" | ") for e in sets.get(part, part).split()}, fields[0].strip('"') if kind == "NOT" else ""


BODIES = {"CHAT": ("/v1/chat/completions", {"messages": TALK, "max_tokens": 1}), "TEXT": ("/v1/completions", {"prompt": "a", "max_tokens": 1}),
          "RESP": ("/v1/responses", {"input": "a", "max_output_tokens": 1})}


def fields(s, c):
    """Kills: a parameter of the SDK that nobody thought of; one that is refused although it asks for nothing."""
    rows = list(table())
    for kind, name, on, neutral in rows:
        for e in on & set(BODIES) if kind == "NOT" else ():
            path, body = BODIES[e]
            status, r = s.post(path, model="hermes", **body, **{name: "zzz"})
            check(status == 400 and r["error"]["code"] == "unsupported_parameter" and r["error"]["param"] == name, f"{path}: {name}", r)
            usual = {"yes": True, "no": False, "": []}.get(neutral, float(neutral) if neutral.isdigit() else neutral)
            for value in (None, usual, {"a": None}):
                status, r = s.post(path, model="hermes", **body, **{name: value})
                check(status == 200, f"{path}: {name} {value!r}", r)
    methods = {"CHAT": c.chat.completions.create, "TEXT": c.completions.create, "RESP": c.responses.create, "EMBED": c.embeddings.create}
    for e, method in methods.items():
        taken = {name for _, name, on, _ in rows if e in on}
        ours = set(inspect.signature(method).parameters) - {"extra_headers", "extra_query", "extra_body", "timeout"}
        check(not ours - taken, f"openai's parameters of {e} have rows", ours - taken)


def collected(events):
    """Items as a client puts them together from a stream: (id, type, status, text)."""
    items = []
    for e in events:
        if e.type == "response.output_item.added":
            items.append([e.item.id, e.item.type, e.item.status, ""])
        elif e.type.endswith(".delta"):
            check(e.item_id == items[e.output_index][0], "responses: a delta is its item's", e)
            items[e.output_index][3] += e.delta
        elif e.type == "response.output_item.done":
            items[e.output_index][2] = e.item.status
            check(e.item.id == items[e.output_index][0] and text_of(e.item) == items[e.output_index][3], "responses: an item is what was streamed", e.item)
    return [tuple(i) for i in items]


def text_of(item):
    return item.arguments if item.type == "function_call" else "".join(p.text for p in item.content)


def shown(r):
    return [(i.id, i.type, i.status, text_of(i)) for i in r.output]


def items(c):
    """What is made to be said, as items: those of the stream are those of its end, and of an answer that is not streamed."""
    cases = [
        ("plain", {}, [("message", "completed", "plain")], "completed"),
        ("<think>why</think>so", {}, [("reasoning", "completed", "why"), ("message", "completed", "so")], "completed"),
        (f"a{call(ONE)}\nb{call(TWO)}", {}, [("message", "completed", "a"), ("function_call", "completed", '{"city": "Oslo", "days": 2}'), ("message", "completed", "b"),
                                          ("function_call", "completed", "{}")], "completed"),
        ("x" * 400, {"max_output_tokens": 9}, [("message", "incomplete", None)], "incomplete"),
        ("<think>" + "x" * 400, {"max_output_tokens": 20}, [("reasoning", "incomplete", None)], "incomplete"),
        ("hm" + call('{"name": "weather", "arguments": {"city": "' + "O" * 300 + '"}}'), {"max_output_tokens": 70},
         [("message", "completed", "hm"), ("function_call", "incomplete", None)], "incomplete"),
    ]
    for text, more, want, status in cases:
        plain = [{k: v for k, v in t.items() if k != "strict"} for t in FLAT]
        ask = dict(model="hermes", input="x", temperature=0, tools=plain, extra_body={"structured_outputs": {"choice": [text]}}, **more)
        whole = c.responses.create(**ask)
        events = list(c.responses.create(**ask, stream=True))
        end = events[-1].response
        kinds = [i[1:] for i in shown(whole)]
        check(len(kinds) == len(want) and all(k[:2] == w[:2] and w[2] in (None, k[2]) for k, w in zip(kinds, want)), f"responses: items of {text[:30]!r}", kinds)
        check(whole.status == end.status == status and events[-1].type == f"response.{status}", f"responses: {text[:30]!r} ends", (whole.status, events[-1].type))
        check(collected(events) == shown(end) and [i[1:] for i in shown(end)] == kinds, f"responses: the stream of {text[:30]!r}", (collected(events), shown(end)))
        check(len({i[0] for i in shown(end)}) == len(want), "responses: every item has an id of its own", shown(end))


def echoed(s, c):
    given = dict(instructions="be brief", metadata={"a": "b"}, tools=FLAT, tool_choice={"type": "function", "name": "now"}, parallel_tool_calls=False, user="me")
    r = json.loads(s.send("POST", "/v1/responses", json.dumps({"model": "hermes", "input": "x", "max_output_tokens": 30, **given}))[2])
    check(all(r[k] == v for k, v in given.items()) and r["text"] == {"format": {"type": "text"}}, "responses: a request is repeated", r)
    bare = c.responses.create(model="hermes", input="x", max_output_tokens=1)
    check((bare.instructions, bare.metadata, bare.tools, bare.tool_choice, bare.store) == (None, {}, [], "auto", False), "responses: and what it left out", bare)


def typed(s):
    """Kills: a field that the SDK's types demand, and that an answer does not have."""
    kinds = {"RESP": openai.types.responses.Response, "CHAT": openai.types.chat.ChatCompletion, "TEXT": openai.types.Completion}
    for e, kind in kinds.items():
        path, body = BODIES[e]
        r = s.post(path, model="hermes", **body)[1]
        try:
            kind.model_validate(r)
            missing = ""
        except ValueError as wrong:
            missing = str(wrong)
        check(not missing, f"{path}: the SDK's types", missing)


def turns(c):
    """Calls of one turn, and its text, are one message of the template: its tokens are the same as the chat's."""
    calls = [{"id": str(i), "type": "function", "function": {"name": "now", "arguments": '{"n": %d}' % i}} for i in range(2)]
    chat = [TALK[0], {"role": "assistant", "content": "let me", "tool_calls": calls}, {"role": "tool", "tool_call_id": "0", "content": "a"},
            {"role": "assistant", "content": "", "tool_calls": calls[:1]}]
    as_item = lambda t: {"type": "function_call", "call_id": t["id"], "name": "now", "arguments": t["function"]["arguments"]}
    given = [TALK[0], {"role": "assistant", "content": "let me"}, {"type": "reasoning", "summary": [], "id": "rs"}, *map(as_item, calls),
             {"type": "function_call_output", "call_id": "0", "output": "a"}, as_item(calls[0])]
    want = c.chat.completions.create(model="hermes", messages=chat, max_tokens=1).usage.prompt_tokens
    got = c.responses.create(model="hermes", input=given, max_output_tokens=1).usage.input_tokens
    check(want == got, "responses: turns", (want, got))


def crowded(s, c):
    """A format that runs out of states where the answer has come to. Kills: an error of the server, one without its field."""
    regex = "x(a?){0,2000}"
    for path, more, param in (("/v1/completions", {"prompt": "Hi", "guided_regex": regex}, "guided_regex"),
                              ("/v1/chat/completions", {"messages": TALK, "structured_outputs": {"regex": regex}}, "structured_outputs")):
        status, r = s.post(path, model="hermes", **more)
        check((status, r["error"]["code"], r["error"]["param"]) == (400, "format_too_complex", param), f"{path}: a format that is too much", r)
        _, _, body = s.send("POST", path, json.dumps({"model": "hermes", "stream": True, **more}))
        check(b'"code":"format_too_complex"' in body.splitlines()[-4], f"{path}: the same in a stream", body[-300:])
    end = list(c.responses.create(model="hermes", input="x", stream=True, extra_body={"structured_outputs": {"regex": regex}}))[-1]
    check(end.type == "response.failed" and end.response.error.code == "format_too_complex", "responses: a format that is too much", end)
    for path, body in (("/v1/completions", {"prompt": "a"}), ("/v1/chat/completions", {"messages": TALK})):
        for usage_ in ({}, {"include_usage": True}):
            status, r = s.post(path, model="hermes", stream_options=usage_, **body)
            check(status == 400 and r["error"]["param"] == "stream_options", f"{path}: stream_options without stream", r)
        for always, want in ((True, 400), (False, 200), (None, 200), (1, 400)):
            status, _, r = s.send("POST", path, json.dumps({"model": "hermes", "stream": True, "max_tokens": 2, **body,
                                                            "stream_options": {"include_usage": True, "continuous_usage_stats": always}}))
            check(status == want and (want == 200 or b"unsupported_parameter" in r), f"{path}: usage in every chunk: {always}", r)


def strict(c, begins):
    """Under auto, calls of a strict tool obey its schema; the text around them is free. The model is pushed to begin calls, no more."""
    for model, token in begins.items():
        for seed in range(4):
            ask = dict(model=model, messages=TALK, tools=TOOLS, seed=seed, temperature=1, max_tokens=400, logit_bias={token: 100}, parallel_tool_calls=bool(seed % 2))
            r = c.chat.completions.create(**ask).choices[0]
            calls = r.message.tool_calls or []
            whole = calls[:-1] if r.finish_reason == "length" else calls
            check(calls and (seed % 2 or len(calls) == 1), f"strict: {model} calls", r)
            for t in whole:
                jsonschema.validate(json.loads(t.function.arguments), PLACE if t.function.name == "weather" else {"type": "object"})
        r = c.chat.completions.create(model=model, messages=TALK, tools=TOOLS, seed=1, max_tokens=20, logit_bias={token: -100}, extra_body={"ignore_eos": True}).choices[0]
        check(r.message.content and not r.message.tool_calls, f"strict: {model} may write text", r)
    try:
        c.chat.completions.create(model="hermes", messages=TALK, tools=[{"type": "function", "function": {"name": "f", "strict": True, "parameters": {"not": {}}}}])
        check(False, "strict: a schema that cannot be held to is refused")
    except openai.BadRequestError as e:
        check(e.param == "tools", "strict: a schema that cannot be held to is refused", e)


def parsed(c, token):
    """The SDK's own way with tools, which are strict."""
    import pydantic

    class Weather(pydantic.BaseModel):
        city: str = pydantic.Field(max_length=6)
        days: int = pydantic.Field(ge=1, le=9)
    ask = dict(model="hermes", messages=TALK, tools=[openai.pydantic_function_tool(Weather)], logit_bias={token: 100}, parallel_tool_calls=False, temperature=1, seed=2)
    one = c.chat.completions.parse(**ask).choices[0].message.tool_calls[0].function.parsed_arguments
    with c.chat.completions.stream(**ask) as stream:
        two = stream.get_final_completion().choices[0].message.tool_calls[0].function.parsed_arguments
    check(isinstance(one, Weather) and one == two, "strict: arguments that the SDK parses", (one, two))
    with c.responses.stream(model="hermes", input="x", text_format=Weather, max_output_tokens=200, temperature=1) as stream:
        three = stream.get_final_response().output_parsed
    check(isinstance(three, Weather), "responses: an answer that the SDK parses", three)


def half_marks(s):
    """A call that is demanded and cut off leaves no half of its mark, or of itself, as content."""
    for n in range(1, 30):
        r = s.post("/v1/chat/completions", model="hermes", messages=TALK, tools=TOOLS, tool_choice="required", max_tokens=n, temperature=0)[1]["choices"][0]
        check(not r["message"]["content"] and r["finish_reason"] in ("length", "stop", "tool_calls"), f"a demanded call, {n} tokens", r)


def single(c):
    """parallel_tool_calls false: an answer ends behind its first call, whatever the model would go on with."""
    plain = [{"type": "function", "function": {k: v for k, v in t["function"].items() if k != "strict"}} for t in TOOLS]
    for many, names in ((True, ["weather", "now"]), (False, ["weather"])):
        ask = dict(model="hermes", messages=TALK, tools=plain, temperature=0, max_tokens=300, parallel_tool_calls=many,
                   extra_body={"guided_choice": [f"so{call(ONE)}\n{call(TWO)} and more"]})
        r = c.chat.completions.create(**ask).choices[0]
        chunks = [x.choices[0] for x in c.chat.completions.create(**ask, stream=True)]
        streamed = [t.function.name for x in chunks for t in x.delta.tool_calls or [] if t.function.name]
        text = "".join(x.delta.content or "" for x in chunks)
        check([t.function.name for t in r.message.tool_calls] == names == streamed and r.finish_reason == "tool_calls" == chunks[-1].finish_reason and
              r.message.content == text == ("soand more" if many else "so"), f"parallel_tool_calls {many}", (r, streamed, text))


def mistakes(s):
    """What clients do wrong most, and what they are told: a code, the field to change, a sentence with the word that helps. Kills: a field that
    the client did not send, a message without its place, a media type that only begins like JSON."""
    image = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}]}
    chat, text, responses = "/v1/chat/completions", "/v1/completions", "/v1/responses"
    for path, status, code, param, word, body in [
            (chat, 404, "model_not_found", "model", "/v1/models", {"model": "gpt-4", "messages": TALK}),
            (chat, 400, "missing_parameter", "model", "/v1/models", {"model": None, "messages": TALK}),
            (chat, 400, "missing_parameter", "messages", "missing", {"prompt": "x"}),
            (chat, 400, "invalid_value", "messages", "at least one", {"messages": []}),
            (chat, 400, "invalid_value", "messages", "messages[1]: a message must have a content", {"messages": TALK + [{"role": "user"}]}),
            (chat, 400, "invalid_value", "messages", "messages[2]: a message must be an object whose role", {"messages": TALK * 2 + [{"role": "usr", "content": ""}]}),
            (chat, 400, "unsupported_parameter", "messages", "use role 'tool'", {"messages": [{"role": "function", "name": "f", "content": ""}]}),
            (chat, 400, "unsupported_content", "messages", "messages[0]: this model reads parts of type text only", {"messages": [image]}),
            (chat, 400, "context_length_exceeded", "max_tokens", "1000000 are to follow", {"messages": TALK, "max_tokens": 10**6}),
            (chat, 400, "context_length_exceeded", "max_completion_tokens", "1000000 are to follow", {"messages": TALK, "max_completion_tokens": 10**6}),
            (chat, 400, "context_length_exceeded", "messages", "the prompt has", {"messages": [{"role": "user", "content": "x" * 20000}], "max_tokens": 1}),
            (chat, 400, "invalid_value", "max_tokens", "at least 1", {"messages": TALK, "max_tokens": 0}),
            (text, 400, "missing_parameter", "prompt", "missing", {"messages": TALK}),
            (text, 400, "context_length_exceeded", "max_tokens", "the context has room for", {"prompt": "x", "max_tokens": 10**6}),
            (text, 400, "invalid_value", "logprobs", "from 0 to 20", {"prompt": "x", "logprobs": True}),
            (responses, 400, "invalid_value", "input", "input[1]: a message must be", {"input": TALK + [{"role": "usr", "content": ""}]}),
            (responses, 400, "unsupported_content", "input", "input[0]: this model reads", {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "https://example.org/a.png"}]}]}),
            (responses, 400, "context_length_exceeded", "max_output_tokens", "are to follow", {"input": "x", "max_output_tokens": 10**6}),
            ("/v1/chat/completion", 404, "unknown_route", None, "/v1/chat/completion", {}),
            ("/v1/models", 405, "method_not_allowed", None, "takes GET", {})]:
        got, headers, answer = s.send("POST", path, json.dumps({"model": "hermes", **body}))
        error = json.loads(answer).get("error") or {}
        check((got, error.get("code"), error.get("param")) == (status, code, param) and word in error["message"], f"mistakes: {path} {str(body)[:60]}", answer)
        check(status != 405 or headers["Allow"] == "GET", "mistakes: what is allowed", headers)
    body = json.dumps({"model": "hermes", "prompt": "x", "max_tokens": 1})
    for kind, status in (("application/json", 200), ("application/json; charset=utf-8", 200), ("application/JSON", 200), ("application/jsonlines", 415), ("application/json-patch+json", 415), ("text/plain", 415)):
        got, _, answer = s.send("POST", text, body, {"Content-Type": kind})
        check(got == status and (got == 200 or json.loads(answer)["error"]["code"] == "unsupported_media_type"), f"mistakes: {kind}", answer)


def long_bodies(s):
    """Kills: a text of one long word, or its JSON, that stops the threads of HTTP, and with them everybody."""
    slow, waits = [], []

    def long(path, field):
        body = json.dumps({"model": "hermes", field: "x" * (8 * 1024 * 1024 - 100)})
        slow.append((path, s.send("POST", path, body)))
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        running = []
        for w in 2 * (("/v1/completions", "prompt"), ("/v1/responses", "input"), ("/tokenize", "content"), ("/v1/completions", "prompt")):
            running.append(pool.submit(long, *w))
            time.sleep(0.1)  # the one before is being read: a thread of HTTP that did so would leave this one to another
        begun = time.time()
        while not all(r.done() for r in running):
            started = time.time()
            check(s.get("/livez")[0] == 200, "long bodies: others are served")
            waits.append(time.time() - started)
            time.sleep(0.02)
        whole = time.time() - begun
    codes = sorted((path, status, (json.loads(body).get("error") or {}).get("code")) for path, (status, _, body) in slow)
    check(codes == [("/tokenize", 200, None)] * 2 + [("/v1/completions", 400, "context_length_exceeded")] * 4 + [("/v1/responses", 400, "context_length_exceeded")] * 2,
          "long bodies: their answers", codes)
    one = whole / len(running)  # what somebody would wait for
    check(len(waits) > 5 and sum(waits) < whole / 2 and max(waits) < one / 6, "long bodies: nobody waits for them", (whole, sorted(waits)[-5:]))
    with socket.create_connection(("127.0.0.1", s.port)) as gone:  # leaves while it is read
        body = json.dumps({"model": "hermes", "prompt": "x" * (2 << 20)}).encode()
        gone.sendall(POST + b"Content-Length: %d\r\n\r\n" % len(body) + body)


def calling(name, template):
    """A model with one token for the mark of a call, as those have that were trained to call."""
    folder = templated(name, template)
    path = os.path.join(folder, "tokenizer.json")
    with open(path, encoding="utf-8") as f:
        added = json.load(f)["added_tokens"]
    added[0].update(content="<tool_call>", special=False)
    edit_json(path, added_tokens=added)
    return folder, str(added[0]["id"])


def run():
    (folder, mark), (other, _) = calling("forms/hermes", HERMES), calling("forms/llama3", LLAMA3)
    s = Server(folder, other, os.path.join(GOLDEN, "mixtral"))
    c = openai.OpenAI(base_url=f"http://127.0.0.1:{s.port}/v1", api_key="x", max_retries=0)
    models(s, folder)
    logprobs(s, c)
    top_logprobs(c)
    places(s, c)
    alike(c)
    first_spaces(c)
    least(s)
    least_top_p(s)
    scored(s)
    streamed_echo(c)
    large_echo(folder)
    usage(s, c)
    headers(s)
    messages(s)
    tokens(s)
    items(c)
    echoed(s, c)
    typed(s)
    turns(c)
    crowded(s, c)
    single(c)
    half_marks(s)
    strict(c, {"hermes": mark, "llama3": str(s.post("/tokenize", model="llama3", content="{")[1]["tokens"][0])})
    parsed(c, mark)
    fields(s, c)
    mistakes(s)
    long_bodies(s)
    check(s.idle() and s.settled("hermes")["kv_tokens_used"] == 0, "forms: nothing is left")
    s.stop()


if __name__ == "__main__":
    run()
    finish()
