"""What the page does when it is used, in a real browser: a proxy puts a script behind it that types and clicks, and gives answers that
servers rarely give. Alone: `tests/e2e/serve_page.py`; SINTER_PAGE is another page.html than the server's. Kills: an error that is kept
as an answer, a question without answer that is asked again, markup of a model that becomes the page's, a share of a roof that is not
known, a key that is not asked for."""
import http.server
import subprocess
import threading

from server import *  # noqa: F403

TYPING = """
const sleep = ms => new Promise(r => setTimeout(r, ms));
async function until(f) { for (let i = 0; i < 400 && !f(); i++) await sleep(20); }
const begin_asking = text => { $("text").value = text; $("form").requestSubmit(); };
async function ask(text) { begin_asking(text); await until(() => $("send").textContent === "Send"); }
async function told(probe) { await fetch("/probe", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(await probe()) }); }
const turns = () => [...$("talk").children].map(e => [e.className, e.textContent]);
addEventListener("load", () => told(async () => { SCRIPT }).catch(e => told(() => ({ error: String(e) }))));
"""


def chunk(**delta):
    return b"data: " + json.dumps({"choices": [{"index": 0, "delta": delta, "finish_reason": None}]}).encode() + b"\n\n"


END = b'data: {"choices":[],"usage":{"completion_tokens":7}}\n\ndata: [DONE]\n\n'
BROKEN = b'data: {"error":{"message":"the engine has stopped"}}\n\n'
MARKUP = "<img src=x onerror=\"document.title='taken'\"><b>bold</b>"
# Answers to the page's chats, in order: status, pieces of the body.
CHATS = [(200, [chunk(role="assistant", content=None), chunk(reasoning_content="let me see"), chunk(content="first "), chunk(content=MARKUP), END]),
         (400, [b'{"error":{"message":"no room for it"}}']),
         (200, [chunk(content="half an ans"), BROKEN]),
         (200, [chunk(content="fourth"), END]),
         (200, [chunk(content="begun"), None]),
         (200, [chunk(content="sixth"), END])]
TALKING = """
await until(() => $("model").options.length);
for (const text of ["one", "two", "three", "four"]) await ask(text);
begin_asking("five");
await until(() => turns().at(-1)[1] === "begun");
await ask("ignored, since this stops it");
await ask("six");
return { turns: turns(), state: $("state").textContent, title: document.title, images: document.images.length };
"""
ROOFLESS = """
await until(() => $("model").options.length);
$("kernels").open = true;
await until(() => $("launches").rows.length > 1);
await until(() => $("sum").textContent.includes("launches"));
return { sum: $("sum").textContent, shares: [...$("launches").rows].slice(1).map(r => r.cells[5].textContent), boxes: [...$("strip").children].map(b => b.title) };
"""
CLICKED = """
await until(() => $("requests").rows.length > 1 && Number($("requests").rows[1].cells[4].textContent));
const cells = $("requests").rows[1].cells, row = [...cells].map(c => c.textContent);
$("requests").style.width = "12em"; cells[0].textContent = "long".repeat(20);
const phase = document.createRange();
phase.selectNodeContents(cells[1]);
const lines = phase.getClientRects().length;
$("requests").rows[1].onclick();
await until(() => $("launches").rows.length > 1);
$("launches").rows[1].onclick();
await until(() => $("kernel").textContent.includes("kernel"));
return { row, lines, open: $("kernels").open, kernel: $("kernel").textContent.slice(0, 200), variant: $("variant").value };
"""
KEY = """
await until(() => !$("key").hidden && $("state").textContent);
const before = $("model").options.length, said = $("state").textContent;
$("key").value = "secret"; $("key").onchange();
await until(() => $("model").options.length);
return { before, said, after: $("model").options.length };
"""


class Proxy:
    """Between a browser and a server. roof: whether what the server says of the roof goes through."""

    def __init__(self, s, script, roof=True, chats=()):
        self.s, self.roof, self.chats, self.bodies, self.probe = s, roof, list(chats), [], {}
        self.script, self.done = TYPING.replace("SCRIPT", script), threading.Event()
        proxy = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def do_GET(self):
                proxy.answer(self, "GET")

            def do_POST(self):
                proxy.answer(self, "POST")
        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def page(self, body):
        other = os.environ.get("SINTER_PAGE")
        if other:
            with open(other, "rb") as f:
                body = f.read()
        return body.replace(b"</body>", b"<script>" + self.script.encode() + b"</script></body>")

    def answer(self, h, method):
        body = h.rfile.read(int(h.headers.get("Content-Length") or 0)) or None
        if h.path == "/probe":
            self.probe = json.loads(body)
            self.reply(h, 200, [b"{}"])
            self.done.set()
        elif h.path == "/v1/chat/completions" and self.chats:
            self.bodies.append(json.loads(body))
            self.reply(h, *self.chats.pop(0))
        else:
            status, headers, got = self.s.send(method, h.path, body, {k: v for k, v in h.headers.items() if k in ("Content-Type", "Authorization")})
            if h.path == "/":
                got = self.page(got)
            if h.path.startswith("/v1/kernels?") and not self.roof:
                doc = json.loads(got)
                doc["limits"] = dict.fromkeys(doc["limits"], 0)
                got = json.dumps({**doc, "data": [{**k, "roof_us": 0} for k in doc["data"]]}).encode()
            self.reply(h, status, [got], headers)

    def reply(self, h, status, pieces, headers=None):
        h.send_response(status)
        for name in ("Content-Type", "Content-Security-Policy"):
            if name in (headers or {"Content-Type": "application/json"}):
                h.send_header(name, (headers or {"Content-Type": "application/json"})[name])
        h.end_headers()
        try:
            for p in pieces:
                if p is None:  # says nothing more until the page goes away from it
                    self.done.wait(20)
                else:
                    h.wfile.write(p)
                    h.wfile.flush()
        except OSError:
            pass

    def look(self):
        """Opens the page, waits for what the script tells of it."""
        p = subprocess.Popen(["chromium", "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={TEMP.name}/chromium-{self.http.server_port}",
                              "--remote-debugging-port=0", f"http://127.0.0.1:{self.http.server_port}/"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.done.wait(60)
        p.kill()
        p.wait()
        self.http.shutdown()
        return self.probe


def talk(s):
    proxy = Proxy(s, TALKING, chats=CHATS)
    seen = proxy.look()
    want = [["turn user", "one"], ["turn thought", "let me see"], ["turn", "first " + MARKUP], ["turn user", "two"], ["turn error", "no room for it"],
            ["turn user", "three"], ["turn error", "the engine has stopped"], ["turn user", "four"], ["turn", "fourth"], ["turn user", "five"], ["turn", "begun"],
            ["turn user", "six"], ["turn", "sixth"]]
    check(seen.get("turns") == want, "page: a talk", seen)
    check(seen.get("images") == 0 and seen.get("title") == "Sinter", "page: a model's markup is text", seen)
    check(re.match(r"7 tokens, first after \d+ ms, [\d.]+ a second$", seen.get("state", "")), "page: figures of an answer", seen.get("state"))
    sent = [[(m["role"], m["content"]) for m in b["messages"]] for b in proxy.bodies]
    one, four = [("user", "one"), ("assistant", "first " + MARKUP)], [("user", "four"), ("assistant", "fourth")]
    check(sent == [one[:1], one + [("user", "two")], one + [("user", "three")], one + four[:1], one + four + [("user", "five")],
                   one + four + [("user", "five"), ("assistant", "begun"), ("user", "six")]], "page: errors are no part of the talk, what was stopped is", sent)


def kernels(s):
    stop, tokens = threading.Event(), [400]

    def busy():
        while not stop.is_set():
            body = json.dumps({"prompt": [5, 6, 7], "max_tokens": tokens[0], "ignore_eos": True, "stream": True}).encode()
            with socket.create_connection(("127.0.0.1", s.port)) as c:
                c.sendall(POST + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
                while not stop.is_set() and c.recv(65536):
                    pass
    worker = threading.Thread(target=busy)
    worker.start()
    try:
        seen = Proxy(s, ROOFLESS, roof=False).look()
        check(seen.get("shares") and set(seen["shares"]) == {"–"} and not any("roof" in b for b in seen["boxes"]) and "the roof is measured" in seen["sum"],
              "page: no share of a roof that is not known", str(seen)[:600])
        tokens[0] = 8000  # what a request holds is looked at now and then
        seen = Proxy(s, CLICKED).look()
        check(seen.get("row", [""])[0] == "llama" and seen["open"] and int(seen["row"][2]) == 3 and int(seen["row"][4]) > 0 and "kernel" in seen["kernel"] and
              seen["variant"] in ("decode", "prefill"), "page: a click on a request, one on a kernel", seen)
        check(seen.get("lines") == 1, "page: a long name leaves the phase in one piece", seen.get("lines"))
    finally:
        stop.set()
        worker.join()


def key():
    path = os.path.join(TEMP.name, "page_keys")
    with open(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600), "w", encoding="utf-8") as f:
        f.write("secret\n")
    s = Server(SMALL, "--api-key-file", path)
    seen = Proxy(s, KEY).look()
    check((seen.get("before"), seen.get("after")) == (0, 1) and "key" in seen["said"], "page: a key is asked for, and used", seen)
    s.stop()


def run():
    s = Server(templated("page/llama", "{{ messages[0].content }}", 32768))
    talk(s)
    kernels(s)
    s.stop()
    key()


if __name__ == "__main__":
    run()
    finish()
