#!/usr/bin/env python3
"""OpenVINO GenAI as a peer of compare.py: run by a Python that has the package openvino-genai.

   PYTHON bench/openvino_peer.py MODEL.gguf THREADS          one JSON test a line on stdin, one {"tok_s"} a line on stdout
   PYTHON bench/openvino_peer.py MODEL.gguf THREADS --first  the first token of a 5-token prompt, then exit

Tests are {"prompt", "generate", "depth", "batch"} as in `sinter bench`: with a prompt its speed, else that of generating."""
import json
import sys
import time

import numpy
import openvino
import openvino_genai


class Peer:
    def __init__(self, model, threads):
        self.model, self.threads = model, threads
        self.single = self.many = None
        self.rng = numpy.random.default_rng(1)

    def config(self, tokens):
        c = openvino_genai.GenerationConfig()
        c.max_new_tokens = tokens
        c.ignore_eos = True
        return c

    def ids(self, count):
        return self.rng.integers(3, 32000, (1, count), dtype=numpy.int64)

    def generate(self, count, tokens):
        """Seconds to the first token, and from it to the last."""
        if not self.single:
            self.single = openvino_genai.LLMPipeline(self.model, "CPU", INFERENCE_NUM_THREADS=self.threads)
        ids = self.ids(count)
        inputs = openvino_genai.TokenizedInputs(openvino.Tensor(ids), openvino.Tensor(numpy.ones_like(ids)))
        started = time.perf_counter()
        metrics = self.single.generate(inputs, self.config(tokens)).perf_metrics
        total = time.perf_counter() - started
        first = metrics.get_ttft().mean / 1e3
        return first, total - first

    def batch(self, count, tokens, batch):
        """Tokens/s of all sequences, from when each has its first token."""
        if not self.many:
            s = openvino_genai.SchedulerConfig()
            s.cache_size = 1
            s.max_num_batched_tokens = 512
            s.dynamic_split_fuse = True
            s.enable_prefix_caching = False
            self.many = openvino_genai.ContinuousBatchingPipeline(self.model, s, "CPU", {"INFERENCE_NUM_THREADS": self.threads})
        handles = [self.many.add_request(i, openvino.Tensor(self.ids(count)), self.config(tokens)) for i in range(batch)]
        got = [0] * batch
        started = before = None
        while self.many.has_non_finished_requests():
            self.many.step()
            for i, h in enumerate(handles):
                while h.can_read():
                    got[i] += sum(len(o.generated_ids) for o in h.read().values())
            if started is None and all(got):
                started, before = time.perf_counter(), sum(got)
        return (sum(got) - before) / (time.perf_counter() - started)

    def run(self, test):
        if test["batch"] > 1:
            return self.batch(test["depth"], test["generate"] + 1, test["batch"])
        if test["prompt"]:
            return test["prompt"] / self.generate(test["prompt"], 1)[0]
        return test["generate"] / self.generate(max(test["depth"], 1), test["generate"] + 1)[1]


def main():
    peer = Peer(sys.argv[1], int(sys.argv[2]))
    if "--first" in sys.argv[3:]:
        peer.generate(5, 1)
        return
    for line in sys.stdin:
        test = json.loads(line)
        peer.run({**test, "prompt": min(test["prompt"], 8), "depth": min(test["depth"], 8), "generate": min(test["generate"], 4)})
        print(json.dumps({"tok_s": peer.run(test)}), flush=True)


main()
