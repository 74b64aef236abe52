"""Ways to run a network, each in a process of its own: TensorFlow and torch share none.

A worker (`python -m benchmark.inference JOB`) makes its network and runs it twice, which does not
count. Then it runs twice for each line that it is sent, and answers with the seconds of the second
run. So the ways take turns, and what else the machine does meets all of them.
"""

from __future__ import annotations

import json
import os
import random
import select
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.rows import Way

PATIENCE = 300.0
"""Seconds that a way may take until it has run once: compilers take minutes."""
NOISE = 1e-3
"""The largest difference of two probabilities, float32; more is another network."""
NOISE_BFLOAT16 = 0.1


@dataclass(frozen=True)
class Job:
    """`dtype` is 'float32' or 'bfloat16'; the three paths are of one network."""

    way: str
    batch: int
    device: str
    dtype: str
    h5: str
    pth: str
    onnx: str
    answer: str


@dataclass(frozen=True)
class Timed:
    """Milliseconds for one picture, or why there are none; `wrong` if the answers are others."""

    milliseconds: float = float("nan")
    reason: str = ""
    wrong: str = ""


Network = Callable[[Any], Any]


def in_turns(ways: Sequence[Way], jobs: Sequence[Job], runs: int) -> list[Timed]:
    """Medians of `runs` runs of each job, in turns, in another order each time: whoever comes
    behind a library whose threads still spin pays for it."""
    with ExitStack() as keep:
        workers = [keep.enter_context(Worker(job)) for job in jobs]
        times: list[list[float]] = [[] for _ in jobs]
        turn = list(zip(workers, times, strict=True))
        order = random.Random(7)
        for _ in range(runs):
            order.shuffle(turn)
            for worker, found in turn:
                if not worker.reason:
                    found.append(worker.run())
    expected = next((w.answer() for w in workers if not w.reason), None)
    return [
        Timed(
            1000 * statistics.median(found) / worker.job.batch if not worker.reason else np.nan,
            worker.reason,
            worker.wrong(expected) if way.same else "",
        )
        for way, worker, found in zip(ways, workers, times, strict=True)
    ]


class Worker:
    """The caller's end of one process."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.reason = ""

    def __enter__(self) -> Worker:
        self.errors = Path(self.job.answer).with_suffix(".txt").open("w+")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmark.inference", json.dumps(asdict(self.job))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
        )
        self._wait_until_ready()  # one after the other: a compiler is no quiet neighbour
        return self

    def __exit__(self, *error: object) -> None:
        self.process.kill()
        self.process.communicate()
        self.errors.close()

    def _wait_until_ready(self) -> None:
        assert self.process.stdout
        ready, _, _ = select.select([self.process.stdout], [], [], PATIENCE)
        if not ready:
            self.reason = f"had not run once after {PATIENCE:.0f} s"
        elif not self.process.stdout.readline():
            self.errors.seek(0)
            self.reason = (self.errors.read().strip().splitlines() or ["ended"])[-1][:120]

    def run(self) -> float:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(b"\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())

    def answer(self) -> Any:
        return np.load(self.job.answer)

    def wrong(self, expected: Any) -> str:
        """Whether the answer is another network's."""
        if self.reason or expected is None:
            return ""
        worst = float(np.abs(self.answer() - expected).max())
        noise = NOISE_BFLOAT16 if self.job.dtype == "bfloat16" else NOISE
        return "" if worst <= noise else f"another answer: probabilities differ by {worst:.1e}"


def serve(job: Job) -> None:
    """The worker: whatever a library prints goes to standard error."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    make = {"keras": _keras, "tf": _keras, "onnxruntime": _onnxruntime}
    run = make.get(job.way.split("-")[0], _torch)(job)
    run()
    np.save(job.answer, run())
    answers.write("ready\n")
    for _ in sys.stdin:
        run()  # not timed: the threads of whoever ran before still spin, and the caches are theirs
        start = time.perf_counter()
        run()
        answers.write(f"{time.perf_counter() - start}\n")


def pictures(batch: int) -> Any:
    """(N, 224, 224, 3) float32, the same for every way."""
    return np.random.default_rng(7).uniform(-120, 130, (batch, 224, 224, 3)).astype(np.float32)


def _torch(job: Job) -> Callable[[], Any]:
    import torch

    import resnet_pt

    model: torch.nn.Module = resnet_pt.load(job.pth)
    if job.way.startswith("optimize"):
        model = resnet_pt.optimize(model, job.device, compile=job.way.endswith("compile"))  # type: ignore[arg-type]
    elif job.way.startswith("by-hand-"):
        from benchmark.by_hand import BY_HAND, filled

        model = filled(BY_HAND[job.way.removeprefix("by-hand-")](), model)
    elif job.way.startswith("torchvision"):
        from torchvision.models import resnet50

        model = resnet50().eval()
        model = torch.compile(model) if job.way.endswith("compile") else model  # type: ignore[assignment]
    dtype = getattr(torch, job.dtype)
    model = model.to(job.device, dtype)
    x = torch.from_numpy(pictures(job.batch)).permute(0, 3, 1, 2).contiguous()
    x = x.to(job.device, dtype)

    def run() -> Any:
        with torch.inference_mode():
            logits = model(x)
            return logits.softmax(1).float().cpu().numpy()  # which waits for a GPU

    return run


def _keras(job: Job) -> Callable[[], Any]:
    import keras
    import tensorflow as tf

    model = keras.models.load_model(job.h5, compile=False)
    x = pictures(job.batch)
    if job.way == "keras-predict":
        return lambda: model.predict(x, batch_size=job.batch, verbose=0)
    function = tf.function(
        lambda given: model(given, training=False), jit_compile=job.way.endswith("xla")
    )
    tensor = tf.constant(x)
    return lambda: function(tensor).numpy()


def _onnxruntime(job: Job) -> Callable[[], Any]:
    import onnxruntime

    session = onnxruntime.InferenceSession(job.onnx, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    x = np.ascontiguousarray(pictures(job.batch).transpose(0, 3, 1, 2))

    def run() -> Any:
        logits = session.run(None, {name: x})[0]
        powers = np.exp(logits - logits.max(1, keepdims=True))
        return powers / powers.sum(1, keepdims=True)

    return run


if __name__ == "__main__":
    serve(Job(**json.loads(sys.argv[1])))
