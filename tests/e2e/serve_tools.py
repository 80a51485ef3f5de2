"""Tool calls with the chat templates that models of Qwen, Hermes and Llama 3 come with (tests/text_cases/templates), on small random
weights that the grammar makes call: streamed and not, several calls, only some tools, and the turn that follows. Alone:
`tests/e2e/serve_tools.py`, which a plant of tests/mutations/mutations.def runs. Kills: a template whose calls are not known for what they
are, a call that the template of the next turn writes otherwise, a tool that is called although tool_choice leaves it out."""
from server import *  # noqa: F403

import jsonschema  # noqa: E402
import openai  # noqa: E402

TEMPLATES = os.path.join(ROOT, "tests", "text_cases", "templates")
PLACE = {"type": "object", "properties": {"city": {"description": "where", "type": "string", "enum": ["Oslo", "Rome"]},
                                          "days": {"description": "how many", "type": "integer", "minimum": 1, "maximum": 5}},
         "required": ["city", "days"], "additionalProperties": False}
NONE = {"type": "object", "properties": {}, "additionalProperties": False}
SCHEMAS = {"weather": PLACE, "now": NONE, "forecast": PLACE}
TOOLS = [{"type": "function", "function": {"name": name, "description": f"the {name}", "parameters": schema}} for name, schema in SCHEMAS.items()]
TALK = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "weather?"}]
# The template, how its models write a call, and whether they may make several at once.
FORMS = {"qwen25": ('<tool_call>\n{{"name": "{}", "arguments": {}}}\n</tool_call>', True),
         "qwen3": ('<tool_call>\n{{"name": "{}", "arguments": {}}}\n</tool_call>', True),
         "hermes_tools": ('<tool_call>\n{{"name": "{}", "arguments": {}}}\n</tool_call>', True),
         "llama31": ('{{"name": "{}", "parameters": {}}}', False)}


def model(name):
    with open(os.path.join(TEMPLATES, f"{name}.jinja"), encoding="utf-8") as f:
        return templated(f"tools/{name}", f.read(), 16384)


def added(chunks):
    """What a client puts together from a stream: content, calls with their ids, how it ended."""
    content, calls, finish, whole_ids = "", [], None, True
    for c in (c for chunk in chunks for c in chunk.choices):
        content += c.delta.content or ""
        for t in c.delta.tool_calls or []:
            if t.index == len(calls):
                calls.append([t.id, t.function.name, ""])
            whole_ids &= t.index == len(calls) - 1 and t.id in (None, calls[-1][0])
            calls[t.index][2] += t.function.arguments or ""
        finish = c.finish_reason or finish
    check(whole_ids, "tools: a piece belongs to the last call", calls)
    return content, [tuple(c) for c in calls], finish


def whole(r):
    m = r.choices[0].message
    return m.content or "", [(t.id, t.function.name, t.function.arguments) for t in m.tool_calls or []], r.choices[0].finish_reason


def asked(c, name, **fields):
    """The answer; its stream adds up to the same, but for ids."""
    ask = dict(model=name, messages=TALK, tools=TOOLS, max_tokens=1500, **fields)
    content, calls, finish = whole(c.chat.completions.create(**ask))
    streamed, others, end = added(c.chat.completions.create(**ask, stream=True))
    bare = [x[1:] for x in calls]
    check((streamed, [x[1:] for x in others], end) == (content, bare, finish), f"{name} {str(fields)[:90]}: the stream adds up", (bare, others, finish, end))
    ids = [x[0] for x in calls + others]
    check(len(set(ids)) == len(ids) and all(ids), f"{name}: calls have ids of their own", ids)
    for _, tool, arguments in calls[:-1] if finish == "length" else calls:
        jsonschema.validate(json.loads(arguments), SCHEMAS[tool])
    return content, calls, finish


def demanded(c, name, several):
    """required, and a function by its name."""
    for seed in range(4):
        content, calls, finish = asked(c, name, tool_choice="required", parallel_tool_calls=False, seed=seed, temperature=1)
        check(content == "" and len(calls) == 1 and finish == "tool_calls", f"{name}: a call is made", (content, calls, finish))
        _, calls, _ = asked(c, name, tool_choice={"type": "function", "function": {"name": "forecast"}}, seed=seed, temperature=1)
        check([x[1] for x in calls] == ["forecast"], f"{name}: the named call", calls)
    # Nothing but the grammar ends these answers.
    counts = {len(asked(c, name, tool_choice="required", seed=seed, temperature=1, extra_body={"ignore_eos": True})[1]) for seed in range(3)}
    check(min(counts) > 1 if several else counts == {1}, f"{name}: several calls", counts)


def some(s, c, name):
    """allowed_tools: all are shown, some are called."""
    def allow(mode, *names, flat=False):
        tools = [{"type": "function", "name": n} if flat else {"type": "function", "function": {"name": n}} for n in names]
        inner = {"mode": mode, "tools": tools}
        return {"type": "allowed_tools", **inner} if flat else {"type": "allowed_tools", "allowed_tools": inner}
    made = set()
    for seed in range(12):  # so hot that each is called
        _, calls, finish = asked(c, name, tool_choice=allow("required", "now", "forecast"), seed=seed, temperature=20, parallel_tool_calls=False)
        made |= {x[1] for x in calls}
        check(len(calls) == 1 and finish == "tool_calls", f"{name}: allowed and required", (calls, finish))
    check(made == {"now", "forecast"}, f"{name}: tools that are allowed", made)
    # Under auto nothing has to be called; what is called is allowed. Text is free.
    text, calls, _ = asked(c, name, tool_choice=allow("auto", "now"), temperature=0)
    check(not {x[1] for x in calls} - {"now"}, f"{name}: allowed under auto", calls)
    counts = [s.post("/v1/chat/completions", model=name, messages=TALK, tools=TOOLS, max_tokens=1, **more)[1]["usage"]["prompt_tokens"]
              for more in ({}, {"tool_choice": allow("auto", "now")})]
    check(counts[0] == counts[1], f"{name}: the model is shown all tools", counts)
    flat = [{"type": "function", **t["function"]} for t in TOOLS]
    status, r = s.post("/v1/responses", model=name, input="x", tools=flat, tool_choice=allow("required", "now", flat=True), parallel_tool_calls=False,
                       max_output_tokens=1500, seed=1)
    check(status == 200 and [i["name"] for i in r["output"]] == ["now"] and r["tool_choice"]["type"] == "allowed_tools", f"{name}: responses, allowed", r)
    for bad in (allow("auto", "nobody"), allow("required"), allow("never", "now"), {"type": "allowed_tools"}, {"type": "allowed_tools", "allowed_tools": 3},
                {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [3]}}, allow("auto", *["now"] * 200)):
        status, r = s.post("/v1/chat/completions", model=name, messages=TALK, tools=TOOLS, tool_choice=bad)
        check(status == 400 and r["error"]["param"] == "tool_choice", f"{name}: {str(bad)[:90]}", r)


def said(c, name, form, several):
    """The model is made to write calls as its template writes them: they are found, whatever stands around them."""
    one, two = ("weather", '{"city": "Oslo", "days": 2}'), ("now", "{}")
    texts = [(form.format(*one), "", [one])]
    if several:
        texts += [(f"Well.\n{form.format(*one)}\n{form.format(*two)}", "Well.", [one, two]), (f"<tools> {form.format('nobody', '{}')}", f"<tools> {form.format('nobody', '{}')}", [])]
    for text, content, calls in texts:
        got = asked(c, name, temperature=0, extra_body={"guided_choice": [text]})
        check((got[0], [x[1:] for x in got[1]]) == (content, calls), f"{name}: {text[:50]!r}", got)
    # A tool that is left out is text, not a call.
    got = asked(c, name, temperature=0, tool_choice="none", extra_body={"guided_choice": [form.format(*one)]})
    check(got[:2] == (form.format(*one), []), f"{name}: none", got)


def answered(s, c, name, form, several):
    """The turn after: the calls as the SDK hands them back, and their answers, are in the prompt as the model writes them."""
    r = c.chat.completions.create(model=name, messages=TALK, tools=TOOLS, tool_choice="required", seed=3, temperature=1, parallel_tool_calls=False, max_tokens=1500)
    message = r.choices[0].message
    call = message.tool_calls[0]
    again = TALK + [message.model_dump(exclude_none=True), {"role": "tool", "tool_call_id": call.id, "content": "sunny at 12:00"}]
    prompt = s.post("/apply-template", model=name, messages=again, tools=TOOLS)[1]["prompt"]
    written = form.format(call.function.name, json.dumps(json.loads(call.function.arguments)))
    check(written in prompt and "sunny at 12:00" in prompt.split(written)[1], f"{name}: the turn after", (written, prompt[-600:]))
    check(all(t["function"]["name"] in prompt for t in TOOLS), f"{name}: the tools are shown", prompt[:300])
    r = c.chat.completions.create(model=name, messages=again, tools=TOOLS, max_tokens=8, temperature=0)
    check(r.usage.completion_tokens <= 8 and r.choices[0].finish_reason in ("stop", "length", "tool_calls"), f"{name}: it goes on", r)
    two = [{"id": str(i), "type": "function", "function": {"name": "now", "arguments": "{}"}} for i in range(2)]
    both = TALK + [{"role": "assistant", "content": None, "tool_calls": two}] + [{"role": "tool", "tool_call_id": str(i), "content": f"answer {i}"} for i in range(2)]
    status, r = s.post("/apply-template", model=name, messages=both, tools=TOOLS)
    if several:
        check(status == 200 and r["prompt"].count(form.format("now", "{}")) == 2 and "answer 1" in r["prompt"], f"{name}: two calls of a turn", r)
    else:
        check(status == 400 and "single tool-calls" in r["error"]["message"], f"{name}: its template refuses two calls, and says so", (status, r))


def of_old(s):
    """What came before tools is named."""
    for m, word in (({"role": "function", "name": "now", "content": "12:00"}, "'function'"),
                    ({"role": "assistant", "content": None, "function_call": {"name": "now", "arguments": "{}"}}, "function_call")):
        status, r = s.post("/v1/chat/completions", model="qwen3", messages=TALK + [m])
        check(status == 400 and r["error"]["code"] == "unsupported_parameter" and word in r["error"]["message"], f"tools: {m}", r)


def run():
    s = Server(*map(model, FORMS))
    c = openai.OpenAI(base_url=f"http://127.0.0.1:{s.port}/v1", api_key="x", max_retries=0)
    for name, (form, several) in FORMS.items():
        demanded(c, name, several)
        some(s, c, name)
        said(c, name, form, several)
        answered(s, c, name, form, several)
    of_old(s)
    check(s.idle() and all(s.settled(name)["kv_tokens_used"] == 0 for name in FORMS), "tools: nothing is left")
    s.stop()


if __name__ == "__main__":
    run()
    finish()
