"""Time a ResNet-50's inference: plain, optimized, and with other libraries where they are there.

`python scripts/bench_inference.py [--batches 1 8 32] [--rounds 7] [--threads N] [--no-compile]`

Contenders take turns, so that what else the machine does meets all of them; the median of their
times is compared with that of the plain model in the same rounds. With `--threads 1` the time is
the processor's, which other processes change less; otherwise it is the clock's. Prints a Markdown
table.
"""

from __future__ import annotations

import argparse
import datetime
import io
import os
import platform
import statistics
import time
import warnings
from collections.abc import Callable
from importlib.util import find_spec

import torch

import resnet_pt

Run = Callable[[], object]


def contenders(batch: int, with_compile: bool) -> dict[str, Run]:
    """{name: one inference of a batch of 224x224 pictures}."""
    torch.manual_seed(0)
    architecture = resnet_pt.resnet(stride_on="1x1", bias=True, eps=1e-3)
    model = resnet_pt.ResNet(architecture).eval()
    x = torch.randn(batch, 3, 224, 224)
    found: dict[str, Run] = {
        "plain": lambda: model(x),
        "channels last only": _channels_last(model, x),
        "optimize": _module(resnet_pt.optimize(model), x),
    }
    if with_compile:
        found["optimize, compile=True"] = _module(resnet_pt.optimize(model, compile=True), x)
    if find_spec("torchvision"):
        from torchvision.models import resnet50

        found["torchvision, eager"] = _module(resnet50().eval(), x)
    if find_spec("onnxruntime") and find_spec("onnxscript"):
        found["onnxruntime"] = _onnx(model, x)
    return found


def _module(module: torch.nn.Module, x: torch.Tensor) -> Run:
    return lambda: module(x)


def _channels_last(model: torch.nn.Module, x: torch.Tensor) -> Run:
    import copy

    return _module(copy.deepcopy(model).to(memory_format=torch.channels_last), x)


def _onnx(model: torch.nn.Module, x: torch.Tensor) -> Run:
    import onnxruntime

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(model, (x,), dynamo=True, optimize=False, verbose=False)
    file = io.BytesIO(program.model_proto.SerializeToString())
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(file.getvalue(), options)
    name, pictures = session.get_inputs()[0].name, x.numpy()
    return lambda: session.run(None, {name: pictures})


def measure(runs: dict[str, Run], rounds: int) -> dict[str, float]:
    """Median seconds of each, after one round that does not count."""
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    times: dict[str, list[float]] = {name: [] for name in runs}
    with torch.inference_mode():
        for number in range(rounds + 1):
            for name, run in runs.items():
                start = clock()
                run()
                if number:
                    times[name].append(clock() - start)
    return {name: statistics.median(found) for name, found in times.items()}


def machine() -> str:
    names = ("torch", "torchvision", "onnxruntime")
    versions = [f"{name} {__import__(name).__version__}" for name in names if find_spec(name)]
    processor = platform.processor() or platform.machine()
    with open("/proc/cpuinfo") as file:
        models = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    return (
        f"{datetime.date.today()}, {models[0] if models else processor}, "
        f"{os.cpu_count()} CPUs, {torch.get_num_threads()} threads, {', '.join(versions)}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--no-compile", action="store_true")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    print(machine(), flush=True)
    print("| batch | run by | ms a picture | of plain |\n| --- | --- | --- | --- |")
    for batch in arguments.batches:
        found = measure(contenders(batch, not arguments.no_compile), arguments.rounds)
        for name, seconds in found.items():
            ratio = seconds / found["plain"]
            print(f"| {batch} | {name} | {1000 * seconds / batch:.1f} | {ratio:.2f} |", flush=True)


if __name__ == "__main__":
    main()
