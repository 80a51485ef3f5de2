"""Events of the KV cache over ZeroMQ: a model of the cache that a subscriber builds is the engine's own index whenever nothing runs; in both
dialects, with messages that were missed and replayed, and when the ring overflows."""
import random
import struct
from concurrent.futures import ThreadPoolExecutor

from server import *  # noqa: F403

import msgpack  # noqa: E402
import zmq  # noqa: E402

FIELDS = ["type", "block_hashes", "parent_block_hash", "token_ids", "block_size", "lora_id", "medium", "lora_name", "extra_keys", "group_idx",
          "kv_cache_spec_kind", "kv_cache_spec_sliding_window"]
REMOVED = ["type", "block_hashes", "medium", "group_idx"]


class Consumer:
    """Subscribes, loses every `drop`th message on purpose, asks for what it missed, and keeps what the cache has."""

    def __init__(self, endpoint, replay, maps, drop=0):
        self.context = zmq.Context.instance()
        self.sub = self.context.socket(zmq.SUB)
        self.sub.setsockopt(zmq.SUBSCRIBE, b"kv@")
        self.sub.connect(endpoint)
        self.replay, self.maps, self.drop = replay, maps, drop
        self.next, self.seen, self.blocks, self.tokens, self.gaps, self.clears, self.wrong = 0, 0, {}, {}, 0, 0, 0

    def must(self, ok, what, detail):
        """One check for all of a kind: only what is wrong is counted here, and the number of wrong ones at the end."""
        if not ok:
            self.wrong += 1
            print("event:", what, detail)

    def apply(self, payload):
        ts, events, rank = msgpack.unpackb(payload)
        self.must(ts > 1e9 and rank == 0, "the frame of a batch", (ts, rank))
        for e in events:
            if not self.maps:
                e = dict(zip(FIELDS if e[0] == "BlockStored" else REMOVED, e))
            if e["type"] == "AllBlocksCleared":
                self.clears += 1
                self.blocks.clear()
            elif e["type"] == "BlockStored":
                ok = len(e["token_ids"]) == e["block_size"] == 16 and len(e["block_hashes"]) == 1 and len(e) == len(FIELDS)
                self.must(ok, "a block", e)
                key = (e["block_hashes"][0], e["group_idx"])
                self.must(key not in self.blocks, "stored once", key)
                self.blocks[key] = e["token_ids"]
            else:
                self.must(self.blocks.pop((e["block_hashes"][0], e["group_idx"]), None) is not None, "removed what was there", e)

    def ask(self):
        """Everything from the next number on, as a DEALER."""
        s = self.context.socket(zmq.DEALER)
        s.connect(self.replay)
        s.send_multipart([b"", struct.pack(">Q", self.next)])
        while s.poll(5000):
            parts = s.recv_multipart()[1:]
            if self.maps:
                self.must(parts[0] == b"" or parts[0].startswith(b"kv@sinter@"), "the topic of a replay", parts[0])
                parts = parts[1:]
            number = struct.unpack(">q", parts[0])[0]
            if number == -1:
                break
            self.must(number == self.next, "a replay without gaps", (number, self.next))
            self.apply(parts[1])
            self.next = number + 1
        s.close()

    def read(self, wait=50):
        while self.sub.poll(wait):
            topic, number, payload = self.sub.recv_multipart()
            number = struct.unpack(">Q", number)[0]
            self.seen += 1
            if self.drop and self.seen % self.drop == 0:
                continue
            if number > self.next:
                self.gaps += 1
                self.ask()
            if number == self.next:
                self.apply(payload)
                self.next = number + 1

    def same(self, s, name):
        """What was told is what the engine has."""
        for _ in range(60):
            check(s.idle(), f"{name}: quiet")
            self.read()
            figure = s.settled("llama")
            total = sum((h ^ g) & 0xffffffff for h, g in self.blocks)
            if (figure["kv_blocks"], figure["kv_blocks_sum"]) == (len(self.blocks), total):
                break
            self.ask()  # the last message may be one that was dropped
            time.sleep(0.02)
        check((figure["kv_blocks"], figure["kv_blocks_sum"]) == (len(self.blocks), total), f"{name}: the subscriber's model is the engine's index",
              (figure["kv_blocks"], len(self.blocks), figure["kv_blocks_sum"], total))
        return figure


def one(dialect, queue, drop):
    name = f"events: {dialect}, queue {queue}"
    pub, replay = f"tcp://127.0.0.1:{free_port()}", f"tcp://127.0.0.1:{free_port()}"
    s = Server(SMALL, "--kv-tokens", "1024", "--kv-events", pub, "--kv-replay", replay, "--kv-dialect", dialect, "--kv-queue", str(queue))
    c = Consumer(pub, replay, dialect == "map", drop)
    time.sleep(0.2)
    rng = random.Random(queue)
    heads = [[rng.randrange(3, 500) for _ in range(48)] for _ in range(6)]
    for _ in range(4):  # more prompts than the pool holds: blocks come and go
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda i: s.post("/v1/completions", prompt=rng.choice(heads) + [rng.randrange(3, 500) for _ in range(rng.randrange(1, 120))],
                                           max_tokens=rng.randrange(1, 40), ignore_eos=True), range(16)))
        figure = c.same(s, name)
    check(figure["kv_blocks"] > 10 and figure["kv_events_published_total"] > 200 and c.clears > 0, f"{name}: there were events", figure)
    check(not drop or c.gaps > 0, f"{name}: messages were missed and replayed", c.gaps)
    check((figure["kv_events_resyncs_total"] > 0) == (queue < 100), f"{name}: overflow begins again", figure)
    for artifact in json.loads(s.get("/v1/artifacts")[1])["data"]:
        s.send("DELETE", "/v1/artifacts/" + artifact["id"])
    for _ in range(100):
        c.read()
        c.ask()  # the clearing may be a message that was dropped
        if not c.blocks:
            break
    check(c.wrong == 0, f"{name}: every event has its form and its place", c.wrong)
    check(not c.blocks, f"{name}: an unloaded model has no blocks", len(c.blocks))
    s.stop()


def run():
    one("map", 4096, 5)
    one("array", 4096, 0)
    one("map", 4, 0)
    sinter("serve", SMALL, "--kv-events", "tcp://0.0.0.0:5557", "--port", free_port(), expect=1)
    sinter("serve", SMALL, "--kv-events", "tcp://127.0.0.1:5557", "--kv-dialect", "other", "--port", free_port(), expect=1)
