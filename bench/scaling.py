#!/usr/bin/env python3
"""What a step costs by layers, context and sequences, beside the least the machine allows, drawn as SVG.

   bench/scaling.py [-t 2] [--reps 3] [--only layers,context,sequences] [--samples FILE] [--no-run] [-o docs/scaling.svg] [MODEL]

The roof of a step is the longer of its bytes over the read bandwidth and its operations over the integer peaks, medians of what
every run measured just before. Layers are those of a random Llama-shaped model (make_model.py); context and sequences run on MODEL (smollm2)."""
import argparse
import json
import os
import statistics
import sys
import tempfile

from compare import ROOT, SINTER, output

LAYERS = (2, 4, 8, 12, 16)
CONTEXT = (64, 512, 1024, 2048, 4096)
SEQUENCES = (1, 2, 4, 8, 16, 32)
PANELS = {"layers": "layers", "context": "tokens in the context", "sequences": "sequences at once"}
WIDTH, HEIGHT, LEFT, TOP, GAP = 300, 220, 60, 50, 75
INK, ROOF, MEASURED = "#444", "#c33", "#1f5fa8"


def bench(model, args, depth=64, batch=1):
    out = json.loads(output([SINTER, "bench", model, "-t", str(args.threads), "-p", "0", "-n", "16", "-d", str(depth), "-b", str(batch),
                             "-r", str(args.reps), "--json", "--quiet"]))
    r = out["results"][0]
    return {"ms": 1000 * batch / r["tok_s"], "bytes": r["bytes"] * batch, "ops": r["ops"] * batch,
            "byte_ops": r["byte_ops"] * batch, "read": out["read_bytes_s"], "small": out["int8_ops_s"], "byte": out["byte_ops_s"]}


def measure(args):
    wanted = args.only.split(",")
    if "layers" in wanted:
        with tempfile.TemporaryDirectory() as temp:
            for n in LAYERS:
                path = os.path.join(temp, f"layers{n}.gguf")
                output([sys.executable, os.path.join(ROOT, "bench", "make_model.py"), path, "--layers", str(n)])
                yield {"panel": "layers", "x": n, **bench(path, args)}
                os.unlink(path)
    for panel, values in (("context", CONTEXT), ("sequences", SEQUENCES)):
        for n in values if panel in wanted else ():
            yield {"panel": panel, "x": n, **bench(args.model, args, *((n, 1) if panel == "context" else (64, n)))}


def fit(points, value):
    """Slope and intercept of the least-squares line, and the share of the variance it leaves unexplained."""
    xs, ys = [p["x"] for p in points], [p[value] for p in points]
    mx, my = sum(xs) / len(xs), sum(ys) / len(ys)
    slope = sum((x - mx) * (y - my) for x, y in zip(xs, ys)) / sum((x - mx) ** 2 for x in xs)
    left = sum((y - my - slope * (x - mx)) ** 2 for x, y in zip(xs, ys)) / sum((y - my) ** 2 for y in ys)
    return slope, my - slope * mx, left


def ticks(top):
    step = next(s for s in (m * 10 ** e for e in range(-3, 6) for m in (1, 2, 5)) if top / s <= 5)
    return [i * step for i in range(int(top / step) + 1)]


def text(x, y, words, anchor="middle", color=INK, size=12, turn=""):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{color}" font-size="{size}"{turn}>{words}</text>'


def panel(points, name, left):
    """Axes, the measured points and the roof of one panel."""
    xmax, ymax = max(p["x"] for p in points), 1.08 * max(max(p["ms"], p["roof_ms"]) for p in points)
    px, py = (lambda x: left + WIDTH * x / xmax), (lambda y: TOP + HEIGHT * (1 - y / ymax))
    out = [f'<rect x="{left}" y="{TOP}" width="{WIDTH}" height="{HEIGHT}" fill="none" stroke="{INK}"/>']
    for y in ticks(ymax):
        out += [f'<line x1="{left}" x2="{left + WIDTH}" y1="{py(y):.1f}" y2="{py(y):.1f}" stroke="#ddd"/>',
                text(left - 6, py(y) + 4, f"{y:g}", "end")]
    out += [text(px(x), TOP + HEIGHT + 17, f"{x:g}") for x in ticks(xmax)]
    for key, color in (("roof_ms", ROOF), ("ms", MEASURED)):
        line = " ".join(f"{px(p['x']):.1f},{py(p[key]):.1f}" for p in points)
        out.append(f'<polyline points="{line}" fill="none" stroke="{color}" stroke-width="2"/>')
        out += [f'<circle cx="{px(p["x"]):.1f}" cy="{py(p[key]):.1f}" r="3" fill="{color}"/>' for p in points]
    out.append(text(left + WIDTH / 2, TOP + HEIGHT + 36, PANELS[name]))
    return out


def draw(samples, path):
    names = [n for n in PANELS if any(s["panel"] == n for s in samples)]
    total = LEFT + len(names) * (WIDTH + GAP)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {total} {TOP + HEIGHT + 50}" font-family="sans-serif">',
           f'<rect width="{total}" height="{TOP + HEIGHT + 50}" fill="white"/>',
           text(LEFT, 24, "milliseconds a decode step:", "start", size=14), text(LEFT + 205, 24, "measured", "start", MEASURED, 14),
           text(LEFT + 284, 24, "and the machine's roof, of limits measured between the points", "start", ROOF, 14)]
    for i, name in enumerate(names):
        out += panel(sorted((s for s in samples if s["panel"] == name), key=lambda s: s["x"]), name, LEFT + i * (WIDTH + GAP))
    with open(path, "w", encoding="utf-8") as f:
        f.write("\n".join([*out, "</svg>"]) + "\n")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("model", nargs="?", default="smollm2")
    p.add_argument("-t", "--threads", type=int, default=2)
    p.add_argument("--reps", type=int, default=3)
    p.add_argument("--only", default=",".join(PANELS))
    p.add_argument("--samples", help="JSON lines; added to, and drawn as a whole (medians of equal points)")
    p.add_argument("--no-run", action="store_true", help="draw --samples only")
    p.add_argument("-o", "--output", default=os.path.join(ROOT, "docs", "scaling.svg"))
    args = p.parse_args()
    samples = []
    if args.samples and os.path.exists(args.samples):
        with open(args.samples, encoding="utf-8") as f:
            samples = [json.loads(line) for line in f]
    for s in () if args.no_run else measure(args):
        samples.append(s)
        if args.samples:
            with open(args.samples, "a", encoding="utf-8") as f:
                f.write(json.dumps(s) + "\n")
    read, small, byte = (statistics.median(s[k] for s in samples) for k in ("read", "small", "byte"))
    groups = {}
    for s in samples:
        groups.setdefault((s["panel"], s["x"]), []).append(s)
    samples = [{"panel": panel, "x": x, "ms": statistics.median(s["ms"] for s in group),
                "roof_ms": 1000 * max(group[0]["bytes"] / read,
                                      (group[0]["ops"] - group[0]["byte_ops"]) / small + group[0]["byte_ops"] / byte)} for (panel, x), group in groups.items()]
    draw(samples, args.output)
    for name in PANELS:
        points = [s for s in samples if s["panel"] == name]
        if len(points) > 2:
            slope, start, left = fit(points, "ms")
            print(f"{name}: {start:.3f} ms + {1000 * slope:.3f} us each ({100 * left:.2f} % of the variance unexplained); roof "
                  f"{1000 * fit(points, 'roof_ms')[0]:.3f} us each")


main()
