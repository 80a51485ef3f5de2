#!/usr/bin/env python3
"""llama-server, as its own tests see it, in front of `sinter serve`: reads llama-server's options, starts a server, and passes requests
on. What a request means is the server's doing; here only names change: /completion for /v1/completions, n_predict for max_tokens,
"content" for choices[0].text, a text inside of token ids for its ids. What has no counterpart is passed on as it is, and then fails.

Environment: SINTER (the program), SHIM_MODEL (a model for plain answers), SHIM_EMBEDDINGS (one for vectors), SHIM_FOLDER (a checkpoint
folder to which a chat template is given)."""
import ctypes
import http.client
import http.server
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

NAMES = {"n_predict": "max_tokens", "repeat_penalty": "repetition_penalty"}
OWN = {"prompt", "temperature", "top_k", "top_p", "min_p", "seed", "stop", "stream", "logit_bias", "ignore_eos", "presence_penalty",
       "frequency_penalty", "model", "n", "max_tokens"}
ALIASES = {"/models", "/chat/completions", "/embeddings", "/responses"}  # llama-server has them without /v1, too


def parse(argv):
    options, name = {}, None
    for arg in argv:
        if arg.startswith("-") and not arg.lstrip("-").isdigit():
            name = arg.lstrip("-")
            options[name] = True
        elif name:
            options[name] = arg
    return options


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def with_template(folder, template):
    """A copy of a checkpoint that has another chat template and room for its prompts."""
    copy = os.path.join(tempfile.mkdtemp(prefix="shim-"), "model")
    shutil.copytree(folder, copy)
    for name, key, value in (("tokenizer_config.json", "chat_template", template), ("config.json", "max_position_embeddings", 8192)):
        path = os.path.join(copy, name)
        with open(path, encoding="utf-8") as f:
            values = json.load(f)
        with open(path, "w", encoding="utf-8") as f:
            json.dump({**values, key: value}, f)
    return copy


class Backend:
    def __init__(self, o):
        self.o, self.port = o, free_port()
        self.slots = int(o.get("parallel", 1))
        self.context = int(o.get("ctx-size", 4096)) // self.slots
        model, self.copy = os.environ["SHIM_MODEL"], None
        if "chat-template-file" in o:
            with open(o["chat-template-file"], encoding="utf-8") as f:
                model = self.copy = with_template(os.environ["SHIM_FOLDER"], f.read())
        command = [os.environ["SINTER"], "serve", model, "--port", str(self.port), "-t", "2", "-q", "--kv-tokens", str(self.context),
                   "--alias", o.get("alias", "default")]
        if "embedding" in o:
            command[2] = os.environ["SHIM_EMBEDDINGS"]
            command += ["--embeddings", "--pooling", o.get("pooling", "mean")]
        env = {**os.environ, **({"SINTER_API_KEY": o["api-key"]} if "api-key" in o else {})}
        # PR_SET_PDEATHSIG: tests kill a shim that does not end soon, and its server must not stay.
        self.process = subprocess.Popen(command, env=env, preexec_fn=lambda: ctypes.CDLL(None).prctl(1, signal.SIGKILL))

    def stop(self):
        self.process.terminate()
        self.process.wait()
        if self.copy:
            shutil.rmtree(os.path.dirname(self.copy))

    def ask(self, method, path, body=None, headers=None):
        """(status, JSON) of a question that the shim itself has."""
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        key = {"Authorization": f"Bearer {self.o['api-key']}"} if "api-key" in self.o else {}
        c.request(method, path, json.dumps(body) if body is not None else None, {"Content-Type": "application/json", **key, **(headers or {})})
        r = c.getresponse()
        text = r.read()
        c.close()
        return r.status, json.loads(text)

    def ids(self, text):
        return self.ask("POST", "/tokenize", {"content": text, "add_special": False})[1]["tokens"]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def answer(self, status, body):
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def do_GET(self):
        self.serve("GET")

    def do_POST(self):
        self.serve("POST")

    def do_OPTIONS(self):
        self.serve("OPTIONS")

    def do_DELETE(self):
        self.serve("DELETE")

    def serve(self, method):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = self.path
        if path in ALIASES:
            path = "/v1" + path
        try:
            fields = json.loads(body) if body else None
        except ValueError:
            fields = None
        if path == "/slots" and method == "GET":
            return self.slots()
        if path == "/" and "no-ui" in backend.o:
            return self.answer(404, {"error": {"message": "no page"}})
        if path in ("/completion", "/completions") and isinstance(fields, dict):
            return self.completion(fields)
        if path == "/v1/chat/completions" and isinstance(fields, dict):
            fields = self.defaults(self.format(fields))
        if path in ("/v1/completions", "/v1/responses") and isinstance(fields, dict):
            fields = self.defaults(fields)
        if path == "/v1/embeddings" and isinstance(fields, dict):
            fields = {**fields, "input": self.prompt(fields.get("input"))}
            fields.pop("model", None)
        if path == "/apply-template" and isinstance(fields, dict):
            fields = self.template(fields)
        self.forward(method, path, json.dumps(fields).encode() if fields is not None else body, self.plain)

    # ---- names ----

    def defaults(self, fields):
        """What llama-server takes from its command line; models are not chosen by name."""
        out = {k: v for k, v in fields.items() if k != "model" and v is not None}
        for option, name, kind in (("temp", "temperature", float), ("seed", "seed", int)):
            if option in backend.o:
                out.setdefault(name, kind(backend.o[option]))
        if "n-predict" in backend.o and self.path not in ("/responses", "/v1/responses"):
            most = int(backend.o["n-predict"])
            if "max_tokens" not in out and most > 0:
                out["max_tokens"] = most
        return out

    @staticmethod
    def format(fields):
        """A schema inside of json_object, or as json_schema of its own, is OpenAI's json_schema."""
        schema = fields.pop("json_schema", None)
        f = fields.get("response_format")
        if isinstance(f, dict) and f.get("type") == "json_object" and "schema" in f:
            schema = f["schema"]
        if schema is not None:
            fields["response_format"] = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
        elif isinstance(f, dict) and isinstance(f.get("json_schema"), dict):
            f["json_schema"].setdefault("name", "answer")
        return fields

    @staticmethod
    def template(fields):
        kwargs = dict(fields.get("chat_template_kwargs") or {})
        if backend.o.get("reasoning") in ("on", "off"):
            kwargs["enable_thinking"] = backend.o["reasoning"] == "on"
        if "add_generation_prompt" in fields:
            kwargs["add_generation_prompt"] = fields["add_generation_prompt"]
        out = {k: v for k, v in fields.items() if k not in ("add_generation_prompt", "chat_template_kwargs") and v is not None}
        return {**out, **({"chat_template_kwargs": kwargs} if kwargs else {})}

    @staticmethod
    def prompt(p):
        """Texts among token ids are their ids; an object with prompt_string, or with parts that are texts, is that text."""
        if isinstance(p, dict) and set(p) == {"prompt_string"}:
            return p["prompt_string"]
        if isinstance(p, dict) and isinstance(p.get("content"), list) and all(c.get("type") == "text" for c in p["content"]):
            return "".join(c["text"] for c in p["content"])
        if not isinstance(p, list):
            return p
        if any(isinstance(x, int) for x in p) and any(isinstance(x, str) for x in p):
            return [i for x in p for i in ([x] if isinstance(x, int) else backend.ids(x))]
        return [Handler.prompt(x) for x in p]

    def translated(self, fields):
        out = {NAMES.get(k, k): v for k, v in fields.items() if v is not None}
        out = self.defaults({k: v for k, v in out.items() if k in OWN})
        if out.get("max_tokens", 0) < 0:
            del out["max_tokens"]
        most = int(backend.o.get("n-predict", -1))
        out["max_tokens"] = min(out.get("max_tokens", backend.context), most if most > 0 else backend.context)
        out["prompt"] = self.prompt(out.get("prompt"))
        bias = out.get("logit_bias")
        if bias is not None:
            pairs = bias.items() if isinstance(bias, dict) else bias
            by_id = {}
            for what, value in pairs:
                digits = isinstance(what, int) or what.isdigit()
                by_id.update({str(i): value for i in ([int(what)] if digits else backend.ids(what))})
            out["logit_bias"] = by_id
        return out

    # ---- answers ----

    def slots(self):
        if "slots" not in backend.o:
            return self.answer(501, {"error": {"code": 501, "message": "no --slots", "type": "not_supported_error"}})
        running = len(backend.ask("GET", "/v1/requests")[1]["data"])
        self.answer(200, [{"id": i, "n_ctx": backend.context, "is_processing": i < running} for i in range(backend.slots)])

    @staticmethod
    def one(choice, usage, stop, timings=None):
        text = choice["text"]
        out = {"content": text, "tokens": [], "stop": stop, "has_new_line": "\n" in text, "truncated": False}
        if stop:
            out["stop_type"] = {"length": "limit", "stop": "eos"}[choice["finish_reason"]]
            if usage:
                out["tokens_predicted"] = usage["completion_tokens"]
            if timings:
                out["timings"] = timings
        return out

    def completion(self, fields):
        body = json.dumps(self.translated(fields)).encode()
        many = isinstance(fields.get("prompt"), list) and any(not isinstance(x, int) for x in fields["prompt"]) and \
            not any(isinstance(x, int) for x in fields["prompt"])

        def whole(answer):
            all_ = [self.one(c, answer["usage"], True, answer.get("timings")) for c in answer["choices"]]
            return all_ if many else all_[0]

        def event(chunk):
            return self.one(chunk["choices"][0], None, chunk["choices"][0]["finish_reason"] is not None) if chunk.get("choices") else chunk
        self.forward("POST", "/v1/completions", body, whole, event)

    @staticmethod
    def plain(answer):
        return answer

    def error(self, answer, body):
        """llama-server's words for errors, and the figures it gives with one."""
        e = answer.get("error")
        if isinstance(e, dict) and e.get("code") == "context_length_exceeded":
            e.update(type="exceed_context_size_error", n_ctx=backend.context, n_prompt_tokens=self.length(body))
        return answer

    @staticmethod
    def length(body):
        fields = json.loads(body)
        text = fields.get("prompt")
        if "messages" in fields:
            text = backend.ask("POST", "/apply-template", {"messages": fields["messages"]})[1]["prompt"]
        return len(backend.ids(text)) if isinstance(text, str) else len(text)

    def forward(self, method, path, body, whole, event=None):
        headers = {k: v for k, v in self.headers.items() if k.lower() not in ("host", "content-length", "connection", "accept-encoding")}
        c = http.client.HTTPConnection("127.0.0.1", backend.port, timeout=600)
        try:
            c.request(method, path, body if method == "POST" else None, headers)
            while not select.select([c.sock], [], [], .02)[0]:
                if self.left():
                    return
            r = c.getresponse()
            if "text/event-stream" in r.headers.get("Content-Type", ""):
                return self.stream(r, event)
            text = r.read()
            try:
                answer = json.loads(text)
                text = json.dumps(self.error(answer, body) if r.status >= 400 else whole(answer)).encode()
            except ValueError:
                pass
            self.send_response(r.status)
            for k, v in r.headers.items():
                if k.lower() not in ("content-length", "transfer-encoding", "connection", "date", "server"):
                    self.send_header(k, v)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)
        except (BrokenPipeError, ConnectionResetError):
            pass
        finally:
            c.close()

    def left(self):
        """Whether the client closed its connection."""
        if not select.select([self.connection], [], [], 0)[0]:
            return False
        self.close_connection = True
        return self.connection.recv(1, socket.MSG_PEEK) == b""

    def stream(self, r, event):
        self.send_response(r.status)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        for line in r:
            if event and line.startswith(b"data: {"):
                line = b"data: " + json.dumps(event(json.loads(line[6:]))).encode() + b"\n"
            self.wfile.write(line)
            self.wfile.flush()


class Listener(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


options = parse(sys.argv[1:])
backend = Backend(options)
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=listener.shutdown).start())
listener = Listener((options.get("host", "127.0.0.1"), int(options.get("port", 8080))), Handler)
threading.Thread(target=lambda: (backend.process.wait(), time.sleep(.2), listener.shutdown()), daemon=True).start()
listener.serve_forever()
backend.stop()
