"""Images in chats, as data: URIs. Kills: an image that is dropped, or taken for the one before it; a format that is decoded to other
pixels; a prefix that is found although its image is another one; an answer that the order of requests decides."""
import base64
import concurrent.futures
import shutil

import openai

from server import *  # noqa: F403

IMAGES = os.path.join(ROOT, "tests", "data", "images")
TEMPLATE = ("{% for m in messages %}{% if m.content is string %}{{ m.content }}{% else %}{% for c in m.content %}"
            "{% if c.type == 'image_url' %}<|vision_start|><|image|><|vision_end|>{% else %}{{ c.text }}{% endif %}"
            "{% endfor %}{% endif %}{% endfor %}")


def model():
    """The smallest model with a tower, and a template."""
    folder = os.path.join(TEMP.name, "seeing")
    shutil.copytree(os.path.join(GOLDEN, "qwen2_vl"), folder)
    edit_json(os.path.join(folder, "tokenizer_config.json"), chat_template=TEMPLATE)
    return folder


def uri(name):
    with open(os.path.join(IMAGES, name), "rb") as f:
        return f"data:image/{name.split('.')[1]};base64," + base64.b64encode(f.read()).decode()


def message(*urls):
    parts = [{"type": "image_url", "image_url": {"url": u}} for u in urls]
    return [{"role": "user", "content": [{"type": "text", "text": "what is "}, *parts, {"type": "text", "text": " this?"}]}]


def answer(client, *names):
    """Text and logprobs of what is said to images."""
    r = client.chat.completions.create(model="seeing", messages=message(*map(uri, names)), max_tokens=6, temperature=0, logprobs=True)
    return r.choices[0].message.content, [t.logprob for t in r.choices[0].logprobs.content], r.usage.prompt_tokens


def refused(s):
    for url, code in (("http://127.0.0.1/x.png", "unsupported_content"), ("data:image/png;base64,AAAA", "invalid_image"),
                      ("data:image/png;base64,!", "invalid_value"), (uri("photo.png")[:-20], "invalid_image"), (5, None), ("", None)):
        status, r = s.post("/v1/chat/completions", model="seeing", messages=message(url), max_tokens=2)
        check(status == 400 and r["error"]["param"] == "messages" and code in (None, r["error"]["code"]), f"an image that is none: {str(url)[:40]}", r)


def run():
    s = Server(model())
    c = openai.OpenAI(base_url=f"http://127.0.0.1:{s.port}/v1", api_key="x")
    asks = [("photo.png",), ("photo.jpg",), ("turned.jpg",), ("noise.png",), ("photo.png", "noise.png"), ("noise.png", "photo.png")]
    first = [answer(c, *a) for a in asks]
    check(answer(c, "photo.webp") == first[0], "the same pixels from another format", (answer(c, "photo.webp"), first[0]))
    for i, a in enumerate(asks):
        for j in range(i):
            check(first[i][1] != first[j][1], f"{a} and {asks[j]} are told apart", first[i])
    check(first[4][2] > first[0][2], "two images take more of a prompt than one", first[4])
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        again = list(pool.map(lambda a: answer(c, *a), asks * 2))
    check(again == first * 2, "images in a crowd, with prefixes found", again)
    refused(s)
    check(s.settled("seeing")["kv_tokens_used"] == 0, "no page is left in use")
    s.stop()
