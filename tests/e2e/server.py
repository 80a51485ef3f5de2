"""A server of the small model, and talk with it; used by tests/check/serve and what it is made of."""
import atexit
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

from golden import *  # noqa: F403

sys.path.insert(0, os.path.join(ROOT, "build", "python"))
SMALL = os.path.join(GOLDEN, "llama")
TEMP = tempfile.TemporaryDirectory()
POST = b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def certificate(name, *more):
    """(certificate, key) of localhost, self-signed unless more of openssl's arguments say otherwise."""
    cert, key = (os.path.join(TEMP.name, f"{name}_{kind}.pem") for kind in ("cert", "key"))
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", key, "-out", cert, "-days",
                    "2", "-subj", "/CN=localhost", *more], check=True, capture_output=True)
    os.chmod(key, 0o600)
    return cert, key


class Server:
    def __init__(self, *args, env=None, tls=None):
        self.port, self.tls = free_port(), tls
        self.log = open(os.path.join(TEMP.name, f"{self.port}.log"), "wb+")
        self.process = subprocess.Popen([SINTER, "serve", *args, "--port", str(self.port), "-t", "2"], stderr=self.log,
                                        env={**os.environ, **(env or {})})
        atexit.register(self.process.kill)
        for _ in range(1200):
            if self.process.poll() is not None or self.get("/readyz")[0] == 200:
                break
            time.sleep(0.05)
        check(self.get("/readyz")[0] == 200, f"serve {' '.join(args)[-60:]}: ready", self.errors())

    def errors(self):
        """The end of what it said; read aside, since the server writes where this file's position is."""
        fd = self.log.fileno()
        return os.pread(fd, os.fstat(fd).st_size, 0).decode(errors="replace")[-500:]

    def send(self, method, path, body=None, headers=None):
        """(status, headers, body); status 0 when nothing answers."""
        c = http.client.HTTPSConnection("localhost", self.port, timeout=60, context=self.tls) if self.tls else \
            http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            c.request(method, path, body, headers or ({"Content-Type": "application/json"} if body is not None else {}))
            r = c.getresponse()
            return r.status, dict(r.getheaders()), r.read()
        except OSError:
            return 0, {}, b""
        finally:
            c.close()

    def get(self, path, **headers):
        status, _, body = self.send("GET", path, headers=headers or None)
        return status, body

    def post(self, path, **fields):
        status, _, body = self.send("POST", path, json.dumps(fields))
        return status, json.loads(body)

    def idle(self):
        """Waits until no request is under way."""
        for _ in range(100):
            if json.loads(self.get("/v1/requests", Host="localhost", Authorization="Bearer secret")[1])["data"] == []:
                return True
            time.sleep(0.02)
        return False

    def settled(self, model):
        """The figures once the pool is whole again; they follow a step later than the answers."""
        for _ in range(100):
            text = self.get("/metrics")[1].decode()
            figures = dict(re.findall(f'^sinter_(\\w+){{model="{model}"}} (\\S+)$', text, re.M))
            if figures["kv_tokens_used"] == "0":
                break
            time.sleep(0.02)
        return {name: float(value) for name, value in figures.items()}

    def stop(self, expect=0):
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(40)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = "no end"
        check(code == expect, "the server ends", f"{code}: {self.errors()}")


def quickest(s):
    """Seconds of a small request, the best of five: what others do on the machine takes part in some of them only."""
    best = 60
    for _ in range(5):
        started = time.time()
        if s.post("/v1/completions", prompt=[5, 6], max_tokens=8, temperature=0, ignore_eos=True)[0] == 200:
            best = min(best, time.time() - started)
    return best


def edit_json(path, **values):
    """Sets keys of a JSON file."""
    with open(path, encoding="utf-8") as f:
        config = json.load(f)
    with open(path, "w", encoding="utf-8") as f:
        json.dump({**config, **values}, f)


def templated(name, template, context=4096):
    """The small model with another chat template, and a context that a prompt with tools fits."""
    folder = os.path.join(TEMP.name, name)
    shutil.copytree(SMALL, folder)
    edit_json(os.path.join(folder, "tokenizer_config.json"), chat_template=template)
    edit_json(os.path.join(folder, "config.json"), max_position_embeddings=context)
    return folder


HERMES = """{% if tools %}<tool_call>{"name": .., "arguments": ..}</tool_call>{% for t in tools %}{{ t | tojson }}{% endfor %}{% endif %}{% for m in
messages %}{{ m.role }}:{{ m.content }}{% for c in m.tool_calls or [] %}{{ c.function.arguments | tojson }}{% endfor %}{% endfor %}{% if open
%}<think>{% endif %}"""
LLAMA3 = """{% if tools %}{"name": function name, "parameters": ..}{{ tools | length }}{% endif %}{% for m in messages %}{{ m.content }}{% endfor %}"""
