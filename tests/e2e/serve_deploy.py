"""How a server is installed, started by a service manager, and looked at, also over TLS: deploy/, $NOTIFY_SOCKET, `sinter top`."""
import glob
import os
import pty
import shutil
import signal
import socket
import ssl
import subprocess
import threading

from server import *  # noqa: F403

DEPLOY = os.path.join(ROOT, "deploy")


def keys():
    """What a client hears whose key is missing, wrong or in the wrong place. Kills: a wrong key that is told to be missing."""
    s = Server(SMALL, env={"SINTER_API_KEY": "secret"})
    for given, word in (({}, "is needed"), ({"Authorization": "Bearer wrong"}, "does not know"), ({"X-Api-Key": "wrong"}, "does not know"), ({"Authorization": "secret"}, "does not know")):
        status, headers, answer = s.send("GET", "/v1/models", headers=given)
        error = json.loads(answer)["error"]
        check(status == 401 and error["code"] == "invalid_api_key" and word in error["message"] and headers["WWW-Authenticate"] == "Bearer", f"keys: {given}", answer)
    check(s.get("/v1/models", Authorization="bearer secret")[0] == s.get("/v1/models", **{"X-Api-Key": "secret"})[0] == 200, "keys: the right one")
    s.stop()


def top():
    """`sinter top` beside a stream: models, rates and the request, on a terminal again and again until it is told to end."""
    s = Server(SMALL, env={"SINTER_API_KEY": "secret"})
    key = {"SINTER_API_KEY": "secret"}
    body = json.dumps({"prompt": [5, 6], "max_tokens": 400, "ignore_eos": True, "stream": True, "n": 8}).encode()
    sinter("top", "--port", s.port, env={"SINTER_API_KEY": "wrong"}, expect=1)
    sinter("top", "--port", free_port(), expect=1)
    stop = threading.Event()

    def busy():
        while not stop.is_set():
            s.send("POST", "/v1/completions", body, {"Content-Type": "application/json", "Authorization": "Bearer secret"})
    worker = threading.Thread(target=busy)
    worker.start()
    seen, doc = "", {}
    for _ in range(100):
        seen = sinter("top", "--port", s.port, env=key).decode()
        doc = sinter_json("top", "--port", s.port, env=key)
        if re.search(r"cmpl-\w+ +llama +(prefill|decode)", seen) and doc["requests"]["data"]:
            break
    check(re.search(r"^llama +ready +1 ", seen, re.M) and "cmpl-" in seen, "top: a model and a request", seen)
    rate = re.search(r"^llama +ready +\d+ +[\d.]+% +[\d.]+ +[\d.]+ +([\d.]+)", seen, re.M)
    check(rate and float(rate[1]) > 0, "top: tokens a second, elsewhere", seen)
    check(doc["models"]["data"][0]["id"] == "llama" and "sinter_steps_total" in doc["metrics"], "top: JSON", str(doc)[:300])
    pid, fd = pty.fork()
    if not pid:
        os.execve(SINTER, ["sinter", "top", "--port", str(s.port)], {**os.environ, **key})
    screen = b""
    while screen.count(b"\033[2J") < 3:  # two whole ones
        screen += os.read(fd, 65536)
    os.kill(pid, signal.SIGTERM)  # not SIGINT, which a shell lets its background jobs ignore
    os.waitpid(pid, 0)
    stop.set()
    worker.join()
    rates = re.findall(rb"llama +ready +\d+ +[\d.]+% +[\d.]+ +[\d.]+ +([\d.]+)", screen)
    check(rates and max(map(float, rates)) > 0, "top: tokens a second on a terminal", screen[-600:])
    s.stop()


def says(code, words, *args):
    """What `sinter top` with a key says, which ends with this code."""
    run = subprocess.run([SINTER, "top", *map(str, args)], capture_output=True, text=True, timeout=60, env={**os.environ, "SINTER_API_KEY": "secret\nother"})
    said = run.stderr if code else run.stdout
    check(run.returncode == code and all(w in said for w in words) and not (code and run.stdout), f"top {' '.join(map(str, args))[-80:]}", f"exit {run.returncode}: {run.stdout}{run.stderr}")


def heard(cert, key, requests):
    """Somebody else's TLS on a port, with tickets between an answer's pieces; what he hears is added to requests."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        while True:
            raw = listener.accept()[0]
            try:
                with context.wrap_socket(raw, server_side=True) as c:
                    requests.append(c.recv(65536))
                    c.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                    c.sendall(b'{"data":[]}')
                    c.unwrap()
            except OSError as e:
                requests.append(e)
    threading.Thread(target=serve, daemon=True).start()
    return listener.getsockname()[1]


def top_tls():
    """`sinter top https://…`: whom --tls-ca trusts is asked, with the key; nobody else hears it. Kills: a certificate of anybody, or
    for anybody; a ticket that is taken for an error."""
    ca, ca_key = certificate("ca", "-subj", "/CN=tests")
    cert, key = certificate("signed", "-CA", ca, "-CAkey", ca_key)
    s = Server(SMALL, "--tls-cert", cert, "--tls-key", key, env={"SINTER_API_KEY": "secret"}, tls=ssl.create_default_context(cafile=ca))
    url = f"https://localhost:{s.port}"
    says(0, [f"sinter top  {url} ", "\nllama "], url, "--tls-ca", ca)
    check(sinter_json("top", url + "/", "--tls-ca", ca, env={"SINTER_API_KEY": "secret"})["models"]["data"][0]["id"] == "llama", "top: JSON over TLS")
    says(1, ["refused", "issuer is unknown", "--tls-ca FILE"], url)
    says(1, ["refused", "does not match", "name the server as its certificate does"], f"https://127.0.0.1:{s.port}", "--tls-ca", ca)
    says(1, ["no certificates to trust", ca_key], url, "--tls-ca", ca_key)
    says(1, ["does not answer in HTTP", "https://"], f"http://localhost:{s.port}")
    s.stop()
    own, own_key = certificate("own")
    requests = []
    port = heard(own, own_key, requests)
    says(1, ["issuer is unknown"], f"https://localhost:{port}", "--tls-ca", ca)
    for _ in range(500):
        if requests:
            break
        time.sleep(0.02)
    check(len(requests) == 1 and isinstance(requests[0], OSError), "top: who is not trusted hears nothing", requests)
    says(0, ["MODEL"], f"https://localhost:{port}", "--tls-ca", own)
    head = f"GET /v1/models HTTP/1.0\r\nHost: localhost:{port}\r\nAuthorization: Bearer secret\r\n\r\n".encode()
    check(len(requests) == 7 and requests[1] == head, "top: what a server hears over TLS", requests)
    plain = Server(SMALL)
    says(1, ["TLS cannot be spoken", "http://HOST:PORT"], f"https://localhost:{plain.port}", "--tls-ca", ca)
    says(0, ["\nllama "], f"http://127.0.0.1:{plain.port}")
    plain.stop()
    says(2, ["--tls-ca says nothing"], "--port", s.port, "--tls-ca", ca)
    says(2, ["--host and --port say"], url, "--port", s.port)
    for wrong in ("localhost", "ftp://localhost", "https://", "https://localhost:", "https://localhost:0", "https://localhost:65536", "https://[::1", "https://localhost/v1", "https://a@localhost"):
        says(2, ["https://HOST:PORT, not"], wrong)


def opened():
    """Packages of the libraries that the server opens by name: without them a container has no images, TLS or events."""
    names = set()
    for pattern in ("tools/sinter/serve/*.c", "runtime/image/*"):
        for path in glob.glob(os.path.join(ROOT, *pattern.split("/"))):
            with open(path, encoding="utf-8") as f:
                names |= set(re.findall(r'"(lib[\w-]+\.so\.\d+)"', f.read()))
    check(len(names) == 5, "container: what is opened", names)
    out = subprocess.run(["dpkg", "-S", *(f"*/{n}" for n in names)], capture_output=True, text=True).stdout
    return {line.split(":")[0] for line in out.splitlines() if "diversion" not in line}


def installed():
    """The Containerfile's steps: what is installed runs from anywhere, needs the packages it names and no more, and answers."""
    with open(os.path.join(DEPLOY, "Containerfile"), encoding="utf-8") as f:
        text = f.read()
    steps = re.findall(r"deploy/container (\w+)", text)
    users = re.findall(r"^USER (.*)$", text, re.M)
    check(users == re.findall(r"useradd .*--uid ([1-9]\d*)", text) and len(users) == 1, "container: a user by number, not root", users)
    check({"build", "packages"} <= set(steps), "container: the script's steps are the file's", steps)
    prefix = os.path.join(TEMP.name, "prefix")
    subprocess.run([os.path.join(DEPLOY, "container"), "build", prefix], check=True)
    packages = set(subprocess.run([os.path.join(DEPLOY, "container"), "packages"], capture_output=True, text=True, check=True).stdout.split())
    files = [os.path.join(prefix, "bin", "sinter")] + [os.path.join(prefix, "lib", n) for n in ("libsinter_rt.so", "libsinter_compiler.so")]
    linked = subprocess.run(["ldd", *files], capture_output=True, text=True, check=True).stdout
    check("not found" not in linked and ROOT not in linked, "container: nothing is looked for where it was built", linked)
    direct = set()
    for f in files:
        head = subprocess.run(["readelf", "-d", f], capture_output=True, text=True, check=True).stdout
        direct |= set(re.findall(r"NEEDED.*\[([^]]+)\]", head))
    direct = {n for n in direct if not n.startswith("libsinter") and not re.match(r"lib(c|m)\.so|ld-linux", n)}
    paths = {n: re.search(rf"{re.escape(n)} => (\S+)", linked) for n in direct}
    places = {at for found in paths.values() for path in (found[1], os.path.realpath(found[1])) for at in (path, path.removeprefix("/usr"), "/usr" + path)}
    out = subprocess.run(["dpkg", "-S", *places], capture_output=True, text=True).stdout
    owners = {line.split(":")[0] for line in out.splitlines()}
    owners = {o for o in owners if "-dev" not in o and "diversion" not in o}
    check(owners | opened() == packages, "container: the packages it names", (owners | opened()) ^ packages)
    port = free_port()
    env = {"SINTER_PREFIX": prefix, "SINTER_CACHE": os.path.join(TEMP.name, "container_cache"), "PATH": "/usr/bin:/bin", "SINTER_API_KEY": "k"}
    p = subprocess.Popen([os.path.join(DEPLOY, "container"), "serve", "--models-dir", os.path.dirname(SMALL), "--port", str(port), "-q"], env=env, cwd="/")
    status = body = None
    for _ in range(200):
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=10) as c:
                ask = json.dumps({"model": "llama", "prompt": [5, 6], "max_tokens": 4, "ignore_eos": True}).encode()
                c.sendall(POST + b"Authorization: Bearer k\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(ask) + ask)
                body = b"".join(iter(lambda: c.recv(65536), b""))
                status = body.split()[1]
                break
        except OSError:
            time.sleep(0.02)
    check(status == b"200" and b'"completion_tokens":4' in body, "container: an answer", body)
    p.send_signal(signal.SIGTERM)
    check(p.wait(40) == 0, "container: SIGTERM ends it")


def service():
    """The unit is one that systemd understands and finds hardened; readiness and the end are told."""
    unit = os.path.join(TEMP.name, "sinter.service")
    with open(os.path.join(DEPLOY, "sinter.service"), encoding="utf-8") as f:
        text = f.read().replace("/usr/local/bin/sinter", SINTER)
    with open(unit, "w", encoding="utf-8") as f:
        f.write(text)
    if shutil.which("systemd-analyze"):
        out = subprocess.run(["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True)
        complaints = [line for line in out.stderr.splitlines() if "sinter.service" in line]
        check(not complaints, "service: the unit is understood", complaints)
        out = subprocess.run(["systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=20", unit], capture_output=True, text=True)
        check(out.returncode == 0, "service: exposure is at most 2.0", out.stdout[-300:] + out.stderr[-300:])
    else:
        print("skip: the unit is not verified without systemd-analyze")
    path = os.path.join(TEMP.name, "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.bind(path)
        told.settimeout(20)
        s = Server(SMALL, env={"NOTIFY_SOCKET": path})
        check(told.recv(100) == b"READY=1", "service: ready is told")
        s.process.send_signal(signal.SIGTERM)
        check(told.recv(100) == b"STOPPING=1" and s.process.wait(40) == 0, "service: the end is told")


def run():
    keys()
    top()
    top_tls()
    installed()
    service()


if __name__ == "__main__":
    run()
    finish()
