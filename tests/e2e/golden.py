"""Reading golden folders and running the command; used by the steps of ./check. Standard library only."""
import array
import json
import math
import os
import struct
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SINTER = os.environ.get("SINTER_TESTED", os.path.join(ROOT, "build", "sinter"))
GOLDEN = os.path.join(ROOT, "tests", "golden")

passed = 0
failed = 0
counting = threading.Lock()


def check(ok, name, detail=""):
    global passed, failed
    with counting:
        if ok:
            passed += 1
        else:
            failed += 1
            print("FAILED:", name, detail, flush=True)


def finish():
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed or not passed else 0)


def sinter(*args, stdin=None, expect=0, env=None, timeout=600):
    """Runs the command and returns its stdout (bytes); an unexpected exit code is a failed check."""
    run = subprocess.run([SINTER, *map(str, args)], input=stdin if stdin is not None else b"", capture_output=True,
                         env={**os.environ, **(env or {})}, timeout=timeout)
    check(run.returncode == expect, f"sinter {' '.join(map(str, args))[:200]}",
          f"exit {run.returncode}, expected {expect}: {run.stderr.decode(errors='replace')[-600:]}")
    return run.stdout


def sinter_json(*args, **kw):
    out = sinter(*args, "--json", **kw)
    try:
        return json.loads(out)
    except ValueError:
        check(False, f"JSON of sinter {' '.join(map(str, args))[:200]}", out[:200])
        return {}


def at_once(function, tasks):
    """Calls the function for every tuple of arguments, two at a time; what fails there fails here."""
    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(function, *t) for t in tasks]:
            done.result()


def logits(model, ids, *options, env=None):
    """(rows, cols), logits of every position."""
    with tempfile.NamedTemporaryFile(suffix=".npy") as f:
        sinter("logits", model, "--ids", ids_text(ids), "-o", f.name, "--quiet", *options, env=env)
        return npy(f.name)


def safetensors(path):
    """name -> (shape, array) of F32 and I32 tensors."""
    with open(path, "rb") as f:
        data = f.read()
    size = struct.unpack("<Q", data[:8])[0]
    head = json.loads(data[8:8 + size])
    out = {}
    for name, t in head.items():
        if name == "__metadata__" or t["dtype"] not in ("F32", "I32"):
            continue
        a = array.array("f" if t["dtype"] == "F32" else "i")
        a.frombytes(data[8 + size + t["data_offsets"][0]:8 + size + t["data_offsets"][1]])
        out[name] = (t["shape"], a)
    return out


def npy(path):
    """(rows, cols), array of a float32 C-order file."""
    with open(path, "rb") as f:
        data = f.read()
    if data[:8] != b"\x93NUMPY\x01\x00":
        return (0, 0), array.array("f")
    size = struct.unpack("<H", data[8:10])[0]
    head = data[10:10 + size].decode()
    shape = tuple(int(x) for x in head.split("'shape': (")[1].split(")")[0].split(",") if x.strip())
    a = array.array("f")
    a.frombytes(data[10 + size:])
    return shape, a


def max_abs(a, b):
    if len(a) != len(b):
        return math.inf
    return max((abs(x - y) if x == x else math.inf for x, y in zip(a, b)), default=0)


def rms(a, b):
    if len(a) != len(b) or not len(a):
        return math.inf
    return math.sqrt(sum((x - y) ** 2 for x, y in zip(a, b)) / len(a))


def manifest():
    with open(os.path.join(GOLDEN, "MANIFEST.json"), encoding="utf-8") as f:
        return json.load(f)["models"]


def ids_text(ids):
    return ",".join(map(str, ids))
