"""The vision towers of the golden folders: features, logits and greedy ids of a prompt with an image, against another
implementation; how images are packed has no effect on a bit. Standard library only."""
import array
import os
import struct
import tempfile
import zlib

from golden import ROOT, check, ids_text, logits, max_abs, npy, rms, sinter, sinter_json

IMAGES = os.path.join(ROOT, "tests", "data", "images")
TEXT_ONLY = ("exaone4_5",)  # towers that are not run


def write_npy(path, rows, cols, data):
    head = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {cols}), }}"
    head += " " * (-(10 + len(head) + 1) % 64) + "\n"
    with open(path, "wb") as f:
        f.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode())
        f.write(array.array("f", data).tobytes())


def encode(model, pixels, grid, *options):
    with tempfile.NamedTemporaryFile(suffix=".npy") as f:
        sinter("encode", model, "--pixels", pixels, "--grid", grid, "-o", f.name, "--quiet", *options)
        return npy(f.name)


def compare(name, model, ref, entry, *options):
    """exact within atol, fast within 3 % of the spread (rms). Kills: rows and columns exchanged, in patches, rotary angles,
    learned positions or M-RoPE; patches that do not see later ones; rows merged in another order; features of another row."""
    (rows, cols), pixels = ref["vision.pixel_values"][0], ref["vision.pixel_values"][1]
    grid, ids = ids_text(ref["vision.grid_thw"][1]), ref["vision.input_ids"][1]
    atol, std = entry["vision_atol"], entry["logit_std"]
    with tempfile.TemporaryDirectory() as temp:
        file = os.path.join(temp, "pixels.npy")
        write_npy(file, rows, cols, pixels)
        image = ["--pixels", file, "--grid", grid]
        shape, got = encode(model, file, grid, "--numerics", "exact", *options)
        check(list(shape) == ref["vision.features"][0], f"{name}: shape of features", shape)
        worst = max_abs(got, ref["vision.features"][1])
        check(worst <= atol, f"{name}: exact features", f"max error {worst:.3g}, allowed {atol:.3g}")
        _, got = logits(model, ids, "--numerics", "exact", *image, *options)
        worst = max_abs(got, ref["vision.logits"][1])
        check(worst <= atol, f"{name}: exact logits beside an image", f"max error {worst:.3g}, allowed {atol:.3g}")
        error = rms(logits(model, ids, "--numerics", "fast", *image, *options)[1], ref["vision.logits"][1]) / std
        check(error < 0.03, f"{name}: fast logits beside an image", f"rms error {100 * error:.2f} % of the spread")
        greedy = list(ref["vision.greedy_ids"][1])
        run = sinter_json("run", model, "--ids", ids_text(ids), "-n", len(greedy), "--ignore-eos", "--numerics", "exact", "--quiet",
                          *image, *options)
        check(run.get("ids") == greedy, f"{name}: greedy ids behind an image", f"{run.get('ids')} != {greedy}")


def refused(model, ref):
    """What does not fit together is an error with its own exit code."""
    (rows, cols), pixels = ref["vision.pixel_values"][0], ref["vision.pixel_values"][1]
    grid, ids = ids_text(ref["vision.grid_thw"][1]), list(ref["vision.input_ids"][1])
    with tempfile.TemporaryDirectory() as temp:
        file, out = os.path.join(temp, "pixels.npy"), os.path.join(temp, "out.npy")
        write_npy(file, rows, cols, pixels)
        for bad, code in (("1,2,2", 3), ("1,2", 2), ("1,0,6", 2), ("1,3,8", 2), ("x", 2)):
            sinter("encode", model, "--pixels", file, "--grid", bad, "-o", out, "--quiet", expect=code)
        image = ["--pixels", file, "--grid", grid, "-o", out, "--quiet"]
        token = max(ids, key=ids.count)
        shorter, longer = list(ids), list(ids)
        shorter.remove(token)
        longer.insert(ids.index(token), token)
        for prompt in (shorter, longer, [1, 2, 3]):
            sinter("logits", model, "--ids", ids_text(prompt), *image, expect=2)
        with open(file, "rb") as f:
            whole = f.read()
        for part in (whole[:-4], whole + b"\0", whole[:40], b"", whole.replace(b"<f4", b"<f8")):
            with open(file, "wb") as f:
                f.write(part)
            sinter("encode", model, "--pixels", file, "--grid", grid, "-o", out, "--quiet", expect=3)


def png(path, width, height, colour):
    """colour(x, y) -> (r, g, b)"""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + b"".join(bytes(colour(x, y)) for x in range(width)) for y in range(height))
    with open(path, "wb") as f:
        f.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)) +
                chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def noise(seed):
    return lambda x, y: ((x * 31 + y * 17 + seed * 7) * (x + 3) % 251, (x * y + seed) % 256, (x ^ y) * 5 % 256)


def patch_rows(width, height, colour, patch, merge, mean, std):
    """Rows of patches as docs/vision.md says."""
    side, out = patch * merge, []
    for top in range(0, height, side):
        for left in range(0, width, side):
            for y0 in range(top, top + side, patch):
                for x0 in range(left, left + side, patch):
                    for c in range(3):
                        one = [(colour(x, y)[c] / 255 - mean[c]) / std[c] for y in range(y0, y0 + patch) for x in range(x0, x0 + patch)]
                        out += one + one
    return out


def said(model, image, *options):
    r = sinter_json("run", model, "what is this", "--image", image, "-n", 4, "--ignore-eos", "--quiet", *options)
    return r["ids"], r["logprobs"], r["prompt_tokens"]


def formats(model, temp, *on):
    """What `run` says to images of every format, and to broken ones. Kills: a format that is decoded to other pixels, or not at all; half an
    image that is taken for a whole one; an error that does not name the file."""
    photo, lossless, lossy, turned = (said(model, os.path.join(IMAGES, name), *on) for name in ("photo.png", "photo.webp", "photo.jpg", "turned.jpg"))
    check(lossless == photo, "the same pixels as PNG and as WebP", (lossless, photo))
    apart = [max(abs(a - b) for a, b in zip(other[1], photo[1])) for other in (lossy, turned)]
    check(lossy[2] == photo[2] and lossy[0] == photo[0] and 0 < 4 * apart[0] < apart[1], "the same picture as JPEG; turned", (apart, lossy, photo))
    for name in ("photo.png", "photo.webp", "photo.jpg"):
        with open(os.path.join(IMAGES, name), "rb") as f:
            whole = f.read()
        for part in (whole[:len(whole) // 2], whole[:30], b""):
            bad = os.path.join(temp, "half-" + name)
            with open(bad, "wb") as f:
                f.write(part)
            text = sinter("run", model, "what is this", "--image", bad, "-n", 1, "--quiet", *on, expect=3)
            check(text == b"", f"{len(part)} bytes of {name}: nothing is said", text)


def files(model, device="cpu"):
    """Images from files. Kills: a mean of another channel, patches in another order; features that depend on what else is in a
    step, on the order of images, or on threads; a prompt that gets another number of image tokens."""
    clip = ([0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711])
    on = ["--device", device]
    with tempfile.TemporaryDirectory() as temp:
        sizes = [(64, 64), (160, 80), (48, 96), (64, 64), (33, 200)]
        names = [os.path.join(temp, f"{i}.png") for i in range(len(sizes))]
        for i, (w, h) in enumerate(sizes):
            png(names[i], w, h, noise(i))
        file = os.path.join(temp, "pixels.npy")
        write_npy(file, 64, 384, patch_rows(64, 64, noise(0), 8, 2, *clip))
        want = encode(model, file, "1,8,8", "--numerics", "exact", *on)
        out = os.path.join(temp, "out.npy")

        def read(images, *options):
            sinter("encode", model, "--image", ",".join(images), "-o", out, "--quiet", *options, *on)
            return npy(out)

        got = read(names[:1], "--numerics", "exact")
        check(got[0] == want[0] and max_abs(got[1], want[1]) < 1e-4, "an image file is cut as its pixels", f"{got[0]} {want[0]}")
        for numerics in ("exact", "fast"):
            alone = [read([name], "--numerics", numerics, "-t", 1)[1] for name in names]
            for order in ([0, 1, 2, 3, 4], [4, 2, 0, 1, 3], [3, 3, 1]):
                both = read([names[i] for i in order], "--numerics", numerics, "-t", 2)[1]
                check(both.tobytes() == b"".join(alone[i].tobytes() for i in order), f"packed images, {numerics}, {order}")
        ids = [5, 6, 382, 380, 383, 7, 382, 380, 383, 8]
        tokens = (64 // 16) ** 2
        shape, _ = logits(model, ids, "--image", ",".join([names[0], names[3]]), *on)
        check(shape[0] == len(ids) - 2 + 2 * tokens, "an image token becomes as many as there are rows", shape)
        run = sinter_json("run", model, "what is this", "--image", names[0], "-n", 4, "--quiet", *on)
        check(len(run.get("ids", [])) >= 1 and run["prompt_tokens"] > tokens, "a prompt about an image", run)
        formats(model, temp, *on)
        with open(names[0], "rb") as f:
            whole = f.read()
        bad = os.path.join(temp, "bad.png")
        for part in (whole[:60], whole[:-20], b"", b"GIF89a" + whole, whole[:20] + b"\x7f\xff\xff\xff" + whole[24:]):
            with open(bad, "wb") as f:
                f.write(part)
            sinter("encode", model, "--image", bad, "-o", out, "--quiet", *on, expect=3)
        sinter("encode", model, "--image", os.path.join(temp, "absent.png"), "-o", out, "--quiet", *on, expect=3)
        sinter("encode", model, "--image", bad, "--pixels", file, "--grid", "1,8,8", "-o", out, "--quiet", *on, expect=2)
