"""Damage files at random and see that nothing worse than a refusal comes of it.

    python scripts/fuzz.py                   # in full: about half an hour
    python scripts/fuzz.py --short           # a minute; part of the tests
    python scripts/fuzz.py --seed 7 --keep findings

A campaign for each door that a stranger's file comes in by. `reader`: small Keras-shaped HDF5 files
are damaged and opened as every file is, in a reader's process under its limits. `command`: a
network's file is damaged and converted. `load`: the converted files are damaged and loaded with
`resnet_pt.load`. The others (`doors.py`): `.keras` archives, shards, records, `--config` as JSON
and YAML, descriptions in converted files, pictures.

A case passes if it is refused in the way that is promised, or gives exactly what an independent,
plain reading gives. It fails on any other exception, a signal that reaches the caller, a hang, too
much memory, or other numbers. What fails is kept, with the seed in its name; the exit code is the
number of failures, at most 100.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import h5py
import numpy as np

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

from damage import Campaign, Forked, apart, converting, counted, damaged  # noqa: E402
from doors import DOORS, FULL_DOORS, SHORT_DOORS  # noqa: E402

from converter.errors import ConvertError  # noqa: E402
from converter.files.isolation import process, reader  # noqa: E402

FULL = {"reader": 20_000, "command": 300, "load": 5_000, **FULL_DOORS}
SHORT = {"reader": 300, "command": 5, "load": 80, **SHORT_DOORS}
# Files to begin with


def small(path: Path, *, nested: bool = False, libver: str = "earliest", **stored: Any) -> None:
    """A Keras-shaped file of a few layers, about 20 KB."""
    values = np.random.default_rng(5)
    with h5py.File(path, "w", libver=libver) as file:
        root = file.create_group("model_weights") if nested else file
        if nested:
            file.attrs["model_config"] = json.dumps(
                {"class_name": "Model", "config": {"layers": []}}
            )
        layers = {
            "input_1": {},
            "conv1": {"kernel:0": (3, 3, 3, 4), "bias:0": (4,)},
            "bn_conv1": dict.fromkeys(
                ["gamma:0", "beta:0", "moving_mean:0", "moving_variance:0"], (4,)
            ),
            "res2a_branch2a": {"kernel:0": (1, 1, 4, 8), "bias:0": (8,)},
            "fc1000": {"kernel:0": (8, 5), "bias:0": (5,)},
        }
        root.attrs["layer_names"] = [name.encode() for name in layers]
        root.attrs["backend"], root.attrs["keras_version"] = b"tensorflow", b"2.2.4"
        for layer, shapes in layers.items():
            group = root.create_group(layer)
            names = [f"{layer}/{name}" for name in shapes]
            group.attrs["weight_names"] = names if nested else [name.encode() for name in names]
            for name, shape in zip(names, shapes.values(), strict=True):
                data = values.normal(size=shape).astype("f4")
                group.create_dataset(name, data=data, **stored)


def seeds(folder: Path) -> list[Path]:
    """Five files: plain, with HDF5's newer checksummed format, compressed, nested with names of
    variable length, and one that Keras wrote."""
    ways: dict[str, dict[str, Any]] = {
        "plain": {},
        "latest": {"libver": "latest"},
        "gzip": {"compression": "gzip", "shuffle": True, "fletcher32": True},
        "nested": {"nested": True},
    }
    for name, options in ways.items():
        small(folder / f"{name}.h5", **options)
    real = folder / "keras.h5"
    with (
        h5py.File(ROOT / "fixtures/keras-1.2.2-theano-th.h5") as source,
        h5py.File(real, "w") as file,
    ):
        names = list(source["model_weights"].attrs["layer_names"])[:12]
        for name in names:
            source.copy(f"model_weights/{name.decode()}", file)
        file.attrs["layer_names"] = names
    return [*(folder / f"{name}.h5" for name in ways), real]


# Damage that is sound HDF5


EDITS: tuple[Callable[[Any, str, random.Random], object], ...] = (
    lambda file, path, chance: file.pop(path),
    lambda file, path, chance: file.move(path, f"{path}{chance.choice(['_1', ' ', '/x'])}"),
    lambda file, path, chance: _replace(file, path, h5py.SoftLink("/")),
    lambda file, path, chance: _replace(file, path, h5py.ExternalLink("other.h5", "/")),
    lambda file, path, chance: _replace(file, path, file["/"]),
    lambda file, path, chance: _store(
        file, path, chance.choice(["i4", "f2", "f8", "S3", "c8", ">f4"])
    ),
    lambda file, path, chance: _replace(file, path, h5py.Empty("f4")),
    lambda file, path, chance: _replace(file, path, np.ones(chance.randrange(5), "f4")),
    lambda file, path, chance: _empty(
        file, path, (chance.choice((1, 2**10, 2**40)), 3), chunks=True
    ),
    lambda file, path, chance: _empty(file, path, (4,), external=[("/etc/hostname", 0, 16)]),
    lambda file, path, chance: file[path].parent.attrs.update(
        {
            "weight_names": chance.choice(
                [
                    3,
                    "x",
                    [b"a", b"a"],
                    np.zeros(3),
                    [b"../x"],
                    ["\\n"],
                    h5py.Empty("S4"),
                    [b"x" * 5000],
                ]
            )
        }
    ),
)
"""Faults that are sound HDF5: deleted, renamed, linked, of another kind, shape or list."""


REFUSED = (KeyError, ValueError, OSError, RuntimeError, TypeError)


def _replace(file: Any, path: str, other: Any) -> None:
    del file[path]
    file[path] = other


def _store(file: Any, path: str, dtype: str) -> None:
    values = np.asarray(file[path])
    _replace(file, path, np.zeros(values.shape, dtype) if dtype == "S3" else values.astype(dtype))


def _empty(file: Any, path: str, shape: tuple[int, ...], **options: Any) -> None:
    del file[path]
    file.create_dataset(path, shape, "f4", **options)


def edited(content: bytes, chance: random.Random, folder: Path) -> bytes:
    """One to three faults that are sound HDF5."""
    path = folder / "edited.h5"
    path.write_bytes(content)
    with h5py.File(path, "a") as file:
        for _ in range(chance.randint(1, 3)):
            arrays = arrays_of(file)
            with suppress(IndexError, *REFUSED):  # what HDF5 itself does not let one do
                chance.choice(EDITS)(file, chance.choice(arrays), chance)
    return path.read_bytes()


def arrays_of(file: Any) -> list[str]:
    found: list[str] = []
    file.visititems(lambda path, one: found.append(path) if hasattr(one, "shape") else None)
    return found


def numbers_of(path: Path) -> list[tuple[int, int]]:
    """Where in a file the arrays' numbers are: (start, end) of each contiguous one."""
    found: list[tuple[int, int]] = []

    def visit(_: str, one: Any) -> None:
        if isinstance(one, h5py.Dataset) and one.id.get_offset() is not None:
            found.append((one.id.get_offset(), one.id.get_offset() + one.nbytes))

    with h5py.File(path) as file:
        file.visititems(visit)
    return found


def plainly(path: Path, names: list[str]) -> Any:
    """What a plain h5py reading gives for each array: its bytes as float64, or nothing."""
    with h5py.File(path, locking=False) as file:
        found = {}
        for name in names:
            values = np.asarray(file[name][()])
            found[name] = [list(values.shape), values.astype("<f8").tobytes().hex()]
    return found


# Campaigns


def fuzz_reader(cases: int, chance: random.Random, keep: Path, folder: Path) -> Campaign:
    campaign = Campaign("reader", keep)
    files = seeds(folder)
    contents = [(path.stem, path.read_bytes(), numbers_of(path)) for path in files]
    source = folder / "case.h5"
    take = process.take
    for number in counted(cases):
        stem, content, spared = contents[number % len(contents)]
        sound = chance.random() < 0.1
        new = edited(content, chance, folder) if sound else damaged(content, chance, spared)
        source.write_bytes(new)
        forked: list[Forked] = []
        process.take = lambda *_, forked=forked: forked.append(Forked()) or forked[-1]
        outcome, names = _opened(source)
        if outcome == "read" and names:
            plain, *_ = apart(lambda names=names: plainly(source, list(names)))
            if not isinstance(plain, dict):
                outcome = "read (a plain reading failed)"
            elif plain != names:
                outcome = "FAILED: other numbers than a plain reading gives"
        campaign.note(outcome, new, f"{number}-{stem}.h5", forked[-1].seconds, forked[-1].memory)
    process.take = take
    return campaign


def _opened(source: Path) -> tuple[str, dict[str, Any]]:
    """(how it went, `{path: [shape, bytes as float64]}`) of a file, by the reader's process."""
    try:
        with reader.open_checkpoint(source) as checkpoint:
            found = {
                weight.path: [list(array.shape), array.astype("<f8").tobytes().hex()]
                for weight, array in checkpoint.arrays(checkpoint.weights)
            }
        return "read", found
    except ConvertError as error:
        if error.exit_code not in (3, 4, 5) or len(str(error).splitlines()) > 12:
            return f"FAILED: {error}", {}
        contained = "cannot be read safely" in str(error)
        return f"{'ended' if contained else 'refused'} with code {error.exit_code}: {error}", {}
    except BaseException as error:
        return f"FAILED: {type(error).__name__}: {error}", {}


def fuzz_command(cases: int, chance: random.Random, keep: Path, folder: Path) -> Campaign:
    """The whole command, in a process of its own, on networks that Keras wrote."""
    from safetensors.numpy import load_file

    campaign = Campaign("command", keep)
    files = [
        ROOT / "fixtures" / f"{name}.h5" for name in ("keras-2.2.4-tensorflow", "keras-vggface-0.6")
    ]
    contents = [(path.stem, path.read_bytes(), numbers_of(path)) for path in files]
    source, target, report = (
        folder / name for name in ("case.h5", "out.safetensors", "report.json")
    )
    for number in counted(cases):
        stem, content, spared = contents[number % len(contents)]
        new = damaged(content, chance, spared)
        source.write_bytes(new)
        target.write_bytes(b"old")
        report.unlink(missing_ok=True)
        before = sorted(os.listdir(folder))
        arguments = [str(source), str(target), "--force", "--no-parity", "--report", str(report)]
        result, seconds, memory = apart(lambda arguments=arguments: converting(arguments))
        code, told = result if isinstance(result, list) else (None, result)
        outcome = f"code {code}"
        if code == 0:
            outcome = _compared(source, load_file(target), json.loads(report.read_text()))
        elif code not in (3, 4, 5, 6):
            outcome = f"FAILED: code {code}: {told[-300:]}"
        elif "Traceback" in told or len(told.splitlines()) > 12:
            outcome = f"FAILED: {told[:300]}"
        elif target.read_bytes() != b"old" or sorted(os.listdir(folder)) != before:
            outcome = "FAILED: refused, and left something behind"
        campaign.note(outcome, new, f"{number}-{stem}.h5", seconds, memory)
    return campaign


def _compared(source: Path, tensors: dict[str, Any], report: dict[str, Any]) -> str:
    """Every tensor against a plain reading, turned as torch has it."""
    with h5py.File(source) as file:
        for row in report["mapping"]:
            if row["source"] is None:
                continue
            values = np.asarray(file[row["source"]][()]).astype("f4")
            turned = {4: (3, 2, 0, 1), 2: (1, 0)}.get(values.ndim)
            values = values.transpose(turned) if turned else values
            if values.tobytes() != tensors[row["target"]].tobytes():
                return f"FAILED: {row['target']} is not {row['source']}"
    return "code 0"


def fuzz_load(cases: int, chance: random.Random, keep: Path, folder: Path) -> Campaign:
    """`resnet_pt.load` on damaged `.pth` and `.safetensors`."""
    import torch

    import resnet_pt
    from converter.conversion import convert
    from resnet_pt.files import FileError

    torch.set_num_threads(1)
    campaign = Campaign("load", keep)
    path = ROOT / "fixtures/keras-2.3.1-qubvel-18.h5"
    rights = []
    for suffix in (".pth", ".safetensors"):
        convert(path, folder / f"right{suffix}", parity=False)
        rights.append((suffix, (folder / f"right{suffix}").read_bytes()))
    expected = {
        name: tensor
        for name, tensor in resnet_pt.load(folder / "right.pth").state_dict().items()
        if name != "_extra_state"
    }

    def attempt(source: Path) -> str:
        try:
            state = resnet_pt.load(source).state_dict()
        except FileError:
            return "refused"
        same = all(torch.equal(state[name], tensor) for name, tensor in expected.items())
        return "loaded, the same" if same else "FAILED: other tensors"

    for number in counted(cases):
        suffix, content = rights[number % 2]
        head = [(4096, len(content) - 65536)] if suffix == ".pth" else [(65536, len(content))]
        new = damaged(content, chance, head if chance.random() < 0.7 else [])
        source = folder / f"case{suffix}"
        source.write_bytes(new)
        outcome, seconds, memory = apart(lambda source=source: attempt(source))
        outcome = outcome if not outcome.startswith("ended") else f"FAILED: {outcome}"
        campaign.note(outcome, new, f"{number}{suffix}", seconds, memory)
    return campaign


CAMPAIGNS = {"reader": fuzz_reader, "command": fuzz_command, "load": fuzz_load, **DOORS}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--short", action="store_true", help="a minute's worth of each")
    parser.add_argument("--only", choices=CAMPAIGNS, help="one campaign")
    parser.add_argument("--cases", type=int, help="how many, instead of the full number")
    parser.add_argument("--keep", type=Path, default=Path("findings"), help="where failures go")
    options = parser.parse_args()
    failures = 0
    for name in [options.only] if options.only else list(CAMPAIGNS):
        cases = options.cases or (SHORT if options.short else FULL)[name]
        chance = random.Random(f"{options.seed} {name}")
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
            campaign = CAMPAIGNS[name](cases, chance, options.keep, Path(folder))
        print(f"{campaign} (seed {options.seed}, {time.monotonic() - began:.0f} s)", flush=True)
        failures += campaign.failures
    return min(failures, 100)


if __name__ == "__main__":
    sys.exit(main())
