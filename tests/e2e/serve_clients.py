"""Clients that others wrote: the openai SDK's helpers, llm, langchain-openai, and schemathesis, which reads /openapi.json and sends
what it allows and what it forbids."""
import asyncio
import os
import subprocess
import sys

from server import *  # noqa: F403

ENV = {**os.environ, "PYTHONPATH": os.path.join(ROOT, "build", "python"), "OPENAI_API_KEY": "secret", "NO_COLOR": "1"}
PERSON = {"title": "Person", "description": "somebody", "type": "object", "required": ["name", "age"], "additionalProperties": False,
          "properties": {"name": {"type": "string", "minLength": 1, "maxLength": 8}, "age": {"type": "integer", "minimum": 0, "maximum": 130}}}
TALK = [{"role": "user", "content": "hello"}]


def sdk(s, want):
    """What the SDK does beyond one call: parsed answers, a context manager that closes the stream, async streams."""
    import openai
    import pydantic

    class Person(pydantic.BaseModel):
        age: int = pydantic.Field(ge=0, le=130)
        known: bool

    c = openai.OpenAI(base_url=f"http://127.0.0.1:{s.port}/v1", api_key="secret")
    person = c.chat.completions.parse(model="hermes", messages=TALK, response_format=Person, seed=1).choices[0].message.parsed
    check(isinstance(person, Person) and 0 <= person.age <= 130, "sdk: a parsed answer", person)
    tool = openai.pydantic_function_tool(Person, name="person")
    call = c.chat.completions.create(model="hermes", messages=TALK, tools=[tool], tool_choice="required", parallel_tool_calls=False).choices[0].message.tool_calls[0]
    check(Person.model_validate_json(call.function.arguments), "sdk: arguments of a tool", call)
    check({m.id for m in c.models.list()} == {"hermes"} and c.models.retrieve("hermes").id == "hermes", "sdk: models")

    async def streams():
        ask = dict(model="hermes", messages=TALK, temperature=0, stream=True)
        async with openai.AsyncOpenAI(base_url=c.base_url, api_key="secret") as a:
            whole = [x async for x in await a.chat.completions.create(**ask, max_tokens=12)]
            async with await a.chat.completions.create(**ask, max_tokens=3000, extra_body={"ignore_eos": True}) as left:
                async for _ in left:
                    break
        return "".join(x.choices[0].delta.content or "" for x in whole if x.choices)
    check(asyncio.run(streams()) == want, "sdk: an async stream")
    check(s.idle(), "sdk: a stream left by its context manager ends its request")


def langchain(s, want):
    from langchain_openai import ChatOpenAI

    model = ChatOpenAI(model="hermes", base_url=f"http://127.0.0.1:{s.port}/v1", api_key="secret", temperature=0, max_tokens=12, stream_usage=True)
    check(model.invoke("hello").content == want, "langchain: an answer")
    chunks = list(model.stream("hello"))
    check("".join(x.content for x in chunks) == want and any(x.usage_metadata for x in chunks), "langchain: a stream", chunks)
    check(asyncio.run(model.ainvoke("hello")).content == want, "langchain: async")
    longer = ChatOpenAI(model="hermes", base_url=f"http://127.0.0.1:{s.port}/v1", api_key="secret", temperature=1, seed=3, max_tokens=200)
    calls = longer.bind_tools([PERSON], tool_choice="any").invoke("hello").tool_calls
    check(calls and all(t["name"] == "Person" and set(t["args"]) == {"name", "age"} for t in calls), "langchain: a tool call", calls)
    for method in ("json_schema", "function_calling"):
        person = longer.with_structured_output(PERSON, method=method).invoke("hello")
        check(set(person) == {"name", "age"} and 0 <= person["age"] <= 130, f"langchain: structured output by {method}", person)


def llm_start(s):
    """Commands that run beside the others, each in a folder of its own; llm_end reads what they said."""
    running = []
    for name, more in (("stream", ["12"]), ("whole", ["12", "--no-stream"]), ("schema", ["200", "--schema", json.dumps(PERSON)])):
        folder = os.path.join(TEMP.name, "llm", name)
        os.makedirs(folder)
        with open(os.path.join(folder, "extra-openai-models.yaml"), "w", encoding="utf-8") as f:
            f.write(f"- model_id: here\n  model_name: hermes\n  api_base: http://127.0.0.1:{s.port}/v1\n  supports_schema: true\n  api_key_name: here\n")
        with open(os.path.join(folder, "keys.json"), "w", encoding="utf-8") as f:
            json.dump({"here": "secret"}, f)
        ask = [sys.executable, "-m", "llm", "-m", "here", "--no-log", "hello", "-o", "temperature", "0", "-o", "max_tokens", *more]
        running.append(subprocess.Popen(ask, env={**ENV, "LLM_USER_PATH": folder}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
    return running


def llm_end(running, want):
    for p, name in zip(running, ("stream", "whole", "schema")):
        out, err = p.communicate(timeout=60)
        if name == "schema":
            check(set(json.loads(out or "{}")) == {"name", "age"}, "llm: schema", out + err[-500:])
        else:
            check(out.rstrip("\n") == want.rstrip("\n") and p.returncode == 0, f"llm: {name}", (out, want, err[-500:]))


def keys():
    path = os.path.join(TEMP.name, "client_keys")
    with open(os.open(path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600), "w", encoding="utf-8") as f:
        f.write("secret\n")
    return path


def schemathesis_start():
    """Runs beside the other tests."""
    s = Server(templated("schema/hermes", HERMES, 128), "--api-key-file", keys())
    config = os.path.join(ROOT, "tests", "data", "schemathesis.toml")
    return s, subprocess.Popen([sys.executable, "-m", "schemathesis.cli", "--config-file", config, "run", f"http://127.0.0.1:{s.port}/openapi.json",
                                "-H", "Authorization: Bearer secret"], env=ENV, cwd=TEMP.name, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def schemathesis_end(started):
    """0 failures over /openapi.json: valid requests are answered, invalid ones refused, nothing undocumented comes back."""
    s, running = started
    out, _ = running.communicate(timeout=300)
    check(running.returncode == 0, "schemathesis: no failures", out[-6000:])
    tested = re.search(r"(\d+) generated", out)
    check(tested and int(tested[1]) > 500, "schemathesis: cases", out[-800:])
    check(s.get("/livez")[0] == 200, "schemathesis: the server goes on", s.errors())
    s.stop()


def run():
    s = Server(templated("clients/hermes", HERMES), "--api-key-file", keys())
    running = llm_start(s)
    import openai
    c = openai.OpenAI(base_url=f"http://127.0.0.1:{s.port}/v1", api_key="secret")
    want = c.chat.completions.create(model="hermes", messages=TALK, max_tokens=12, temperature=0).choices[0].message.content
    sdk(s, want)
    langchain(s, want)
    llm_end(running, want)
    s.stop()
