"""Doors that a stranger's file comes in by, beside HDF5: a campaign for each, for `fuzz.py`.

`.keras` archives, shards, records, configurations, converted files and pictures are damaged byte by
byte, and in ways that are sound for their container: numbers that cannot be, other kinds of values,
depth and length. A refusal has an exit code of the table and is short; what is taken holds the very
numbers that stand in the file.
"""

from __future__ import annotations

import copy
import io
import json
import random
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from damage import ROOT, Campaign, Forked, apart, command, converting, counted, damaged

FIXTURES = ROOT / "fixtures"

FULL_DOORS = {
    "archive": 5_000,
    "shards": 1_000,
    "record": 5_000,
    "config": 5_000,
    "converted": 5_000,
    "pictures": 2_000,
}
SHORT_DOORS = {
    "archive": 10,
    "shards": 10,
    "record": 12,
    "config": 12,
    "converted": 15,
    "pictures": 40,
}

REFUSED = (2, 3, 4, 5, 6, 7)


# Structured damage

DEEP = "@deep@"
"""Stands for lists within lists, deeper than any program goes."""

ODD: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 3, 7, -64, 2.5, 0.5, 1e-3, 1e308, float("nan"), float("inf")),
    *(
        10**21,
        -(10**30),
        10**4000,
        3 * 10**8,
        2**31,
        2**63,
        "",
        "2",
        "same",
        "\x1b[31m",
        "__import__",
    ),
    *("x" * 100_000, [], {}, [2.5, 2], [True, True], [10**21, 1], [1] * 100_000, DEEP),
)
"""What a stranger may write where something else belongs."""


def slots(data: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) in a structure, numbers twice: they are what counts."""
    found, waiting = [], [data]
    while waiting:
        one = waiting.pop()
        keys: Any = one.keys() if isinstance(one, dict) else range(len(one))
        for key in list(keys):
            inner = one[key]
            found += [(one, key)] * (2 if type(inner) in (int, float, bool) else 1)
            if isinstance(inner, dict | list):
                waiting.append(inner)
    return found


Change = tuple[Any, Any, Any]
"""(key, what stood there, what stands there now)."""


def changed(data: Any, chance: random.Random) -> tuple[Any, list[Change]]:
    """A copy with one to three faults. What a model was compiled with is no setting of its layers:
    its keys are told apart."""
    new, changes = copy.deepcopy(data), []
    compiled = {id(place) for place, _ in slots(_compiled(new))}
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        some = slots(new)
        if not some:
            break
        place, key = chance.choice(some)
        before = place[key]
        named = f"compiled {key}" if id(place) in compiled else key
        kind = chance.random()
        if kind < 0.75:
            place[key] = copy.deepcopy(chance.choice(ODD))  # or a later fault would reach it
        elif kind < 0.85 and isinstance(place, dict):
            del place[key]
            changes.append((named, before, ...))
            continue
        elif kind < 0.95:
            other, name = chance.choice(some)
            place[key] = copy.deepcopy(other[name]) if name in _keys(other) else None
        else:
            place[key] = [before] * chance.choice((0, 2, 1000))
        changes.append((named, before, place[key]))
    return new, changes


def _compiled(data: Any) -> Any:
    found = data.get("compile_config") if isinstance(data, dict) else None
    return found if isinstance(found, dict | list) else {}


def _keys(one: Any) -> Any:
    return one.keys() if isinstance(one, dict) else range(len(one))


COUNTS = frozenset(
    [
        *("strides", "kernel_size", "dilation_rate", "groups", "filters", "units", "pool_size"),
        *("use_bias", "epsilon", "padding", "subsample", "nb_row", "nb_col", "nb_filter"),
    ]
)
"""Settings of a configuration that change what a network computes."""


def _meant(key: str, value: Any) -> tuple[type, Any]:
    """A setting as Keras takes it: one number for both sides of a window, 2.0 for 2, and 1 for
    yes where it asks yes or no."""
    if key == "use_bias" and type(value) is int and value in (0, 1):
        value = bool(value)
    if isinstance(value, list) and len(value) == 2 and value[0] == value[1]:
        value = value[0] if type(value[0]) is type(value[1]) is int else value
    return (float, value) if type(value) in (int, float) else (type(value), value)


def silent(changes: list[Change], same: bool) -> str:
    """Why a success is none: a setting that counts has another value, and the network is the
    same."""
    if not same or len(changes) != 1:
        return ""
    ((key, before, after),) = changes
    if key not in COUNTS or after in (None, ...) or _meant(key, before) == _meant(key, after):
        return ""
    return f"FAILED: {key} is {str(after)[:60]}, was {before}, and nobody noticed"


def as_json(data: Any) -> bytes:
    return deep(json.dumps(data).encode())


def deep(text: bytes) -> bytes:
    return text.replace(b'"@deep@"', b"[" * 100_000 + b"]" * 100_000)


# Judging


def judged(result: Any, taken: Callable[[], str]) -> str:
    """How a command's run went: refused as it should be, or `taken`."""
    if not isinstance(result, list):
        return f"FAILED: {result}"
    code, told = result
    if code == 0:
        return taken()
    if code not in REFUSED:
        return f"FAILED: code {code}: {told[-300:]}"
    if (
        "Traceback" in told
        or len(told.splitlines()) > 40
        or max(map(len, told.splitlines())) > 1500
    ):
        return f"FAILED: {told[:300]}"
    return f"code {code}"


def forking() -> None:
    """From here on, in this process, files are read in forks of it."""
    from converter.files.isolation import process

    process.take = lambda *_: Forked()  # type: ignore[assignment,return-value]


def run(arguments: list[str]) -> tuple[int, str]:
    forking()
    return converting(arguments)


def warm() -> None:
    """Import once, for every fork, what the commands do."""
    import torch
    import yaml  # noqa: F401

    import resnet_pt.files
    import resnet_pt.predict  # noqa: F401

    torch.set_num_threads(1)


class Conversion:
    """What a right file becomes: its tensors, and what is said of the network."""

    def __init__(self, source: Path, folder: Path, *options: str) -> None:
        self.target = folder / "out.safetensors"
        self.options = [*options, "--no-parity", "--force"]
        result, *_ = apart(lambda: run([str(source), str(self.target), *self.options]))
        assert result[0] == 0, result
        self.expected = self.content()

    def content(self) -> tuple[dict[str, bytes], Any]:
        from safetensors.numpy import load_file

        found = load_file(self.target)
        described = json.loads(found.pop("_extra_state").tobytes())
        network = described.get("architecture") or described["program"]
        return {name: array.tobytes() for name, array in found.items()}, network

    def attempt(self, source: Path) -> tuple[Any, float, int]:
        self.target.write_bytes(b"old")
        return apart(lambda: run([str(source), str(self.target), *self.options]))


# Archives


def fuzz_archive(cases: int, chance: random.Random, keep: Path, folder: Path) -> Campaign:
    """`.keras` files: any bit of them is under a checksum, so that what is taken is the same; and
    archives that are sound, of other configurations."""
    warm()
    campaign = Campaign("archive", keep)
    seeds = []
    for name in ("keras-2.15-conv_block", "keras-2.15-v2", "keras-hub-0.32-18"):
        place = folder / name
        place.mkdir()
        path = FIXTURES / f"{name}.keras"
        with zipfile.ZipFile(path) as file:
            members = {one: file.read(one) for one in file.namelist()}
        seeds.append((name, path.read_bytes(), members, Conversion(path, place)))
    source = folder / "case.keras"
    for number in counted(cases):
        name, content, members, right = seeds[number % len(seeds)]
        changes: list[Change] = []
        is_damaged = chance.random() < 0.5
        if is_damaged:
            new = near(content, chance)
        else:
            part = chance.choice(["config.json", "config.json", "metadata.json"])
            data, changes = changed(json.loads(members[part]), chance)
            new = zipped({**members, part: as_json(data)}, chance)
        source.write_bytes(new)
        result, seconds, memory = right.attempt(source)

        def taken(right: Conversion = right, changes: list[Change] = changes,
                  is_damaged: bool = is_damaged) -> str:  # fmt: skip
            tensors, network = right.content()
            same = network == right.expected[1]
            if is_damaged and (tensors != right.expected[0] or not same):
                return "FAILED: a damaged archive was taken, with other numbers"
            return silent(changes, same) or "taken"

        campaign.note(judged(result, taken), new, f"{number}-{name}.keras", seconds, memory)
    return campaign


def near(content: bytes, chance: random.Random) -> bytes:
    """Damage, half of it in the archive's own records at its end and the headers of members."""
    if chance.random() < 0.5:
        return damaged(content, chance, [])
    at = content.rfind(b"PK\x01\x02")
    at = content.rfind(b"PK\x01\x02", 0, at) if chance.random() < 0.5 and at > 0 else at
    at = at if at > 0 else len(content) - 300
    return content[:at] + damaged(content[at:], chance, [])


def zipped(members: dict[str, bytes], chance: random.Random) -> bytes:
    buffer = io.BytesIO()
    method = chance.choice((zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    with zipfile.ZipFile(buffer, "w", method) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return buffer.getvalue()


# Shards


def fuzz_shards(cases: int, chance: random.Random, keep: Path, folder: Path) -> Campaign:
    """The list and its shards; what is taken is what a plain reading of the shards gives."""
    warm()
    campaign = Campaign("shards", keep)
    stem = "keras-3.15-sharded"
    files = {
        path.name: path.read_bytes() for path in FIXTURES.glob(f"{stem}*") if "npz" not in path.name
    }
    source = folder / f"{stem}.weights.json"
    for number in counted(cases):
        for name, content in files.items():
            (folder / name).write_bytes(content)
        name = chance.choice(sorted(files))
        content = files[name]
        if name.endswith(".json") and chance.random() < 0.7:
            data, _ = changed(json.loads(content), chance)
            new = as_json(data)
        else:
            new = damaged(content, chance, [])
        if chance.random() < 0.05:
            (folder / name).unlink()
            (folder / name).symlink_to(chance.choice(["/dev/zero", "/etc/passwd", "nowhere"]))
        else:
            (folder / name).write_bytes(new)
        result, seconds, memory = apart(lambda: read_shards(source))
        outcome = result if isinstance(result, str) else "FAILED: no answer"
        outcome = f"FAILED: {outcome}" if outcome.startswith("ended with") else outcome
        campaign.note(outcome, new, f"{number}-{name}", seconds, memory)
        with suppress(FileNotFoundError):
            (folder / name).unlink()
    return campaign


def read_shards(source: Path) -> str:
    import h5py

    from converter.errors import ConvertError
    from converter.files.isolation import reader

    forking()
    try:
        with reader.open_checkpoint(source) as checkpoint:
            arrays = [
                (weight.path, array) for weight, array in checkpoint.arrays(checkpoint.weights)
            ]
            shards = checkpoint.files[1:]
    except ConvertError as error:
        short = error.exit_code in (3, 4, 5) and len(str(error).splitlines()) <= 12
        return f"code {error.exit_code}" if short else f"FAILED: {error}"
    plain: dict[str, set[bytes]] = {}
    try:
        for shard in shards:
            with h5py.File(shard, locking=False) as file:
                file.visititems(lambda name, one: _add(plain, name, one))
    except (OSError, RuntimeError):
        return "read (a plain reading failed)"
    for path, array in arrays:
        known = [one for name, some in plain.items() if name.endswith(path) for one in some]
        if array.astype("<f8").tobytes() not in known:
            return f"FAILED: {path} holds other numbers than a plain reading gives"
    return "read"


def _add(plain: dict[str, set[bytes]], name: str, one: Any) -> None:
    unread = (KeyError, ValueError, OSError, RuntimeError, TypeError, AttributeError)
    with suppress(*unread), np.errstate(invalid="ignore"):
        plain.setdefault(name, set()).add(np.asarray(one[()]).astype("<f8").tobytes())


# Records


def fuzz_record(cases: int, chance: random.Random, keep: Path, folder: Path) -> Campaign:
    """Records, held against the network that they are of."""
    warm()
    campaign = Campaign("record", keep)
    name = "keras-2.3.1-cifar-v1"
    Conversion(FIXTURES / f"{name}.h5", folder)
    target = folder / "out.safetensors"
    content = (FIXTURES / f"{name}.npz").read_bytes()
    with np.load(io.BytesIO(content)) as file:
        arrays = {one: file[one] for one in file.files}
    path = folder / "record.npz"
    for number in counted(cases):
        is_damaged = chance.random() < 0.4
        new = near(content, chance) if is_damaged else other_record(arrays, chance)
        path.write_bytes(new)
        result, seconds, memory = apart(
            lambda is_damaged=is_damaged: verify_record(target, path, arrays, is_damaged)
        )
        outcome = result if not str(result).startswith("ended") else f"FAILED: {result}"
        campaign.note(outcome, new, f"{number}.npz", seconds, memory)
    return campaign


KINDS = ("<f2", "<f4", "<f8", ">f4", ">f8", "<i8", ">i4", "<c8", "?", "<U9", "<f16")


def other_record(arrays: dict[str, Any], chance: random.Random) -> bytes:
    """A sound archive of other arrays."""
    new = dict(arrays)
    for _ in range(chance.choice((1, 1, 2))):
        name = chance.choice(sorted(new))
        array = new[name]
        match chance.randrange(9):
            case 0:
                del new[name]
            case 1:
                with suppress(ValueError, TypeError):
                    new[name] = array.astype(chance.choice(KINDS))
            case 2:
                new[name] = array.reshape(-1)[: chance.randrange(5)]
            case 3:
                new[name] = np.broadcast_to(
                    np.zeros((), "f4"), chance.choice([(0,), (9,) * 4, (3000, 3000)])
                )
            case 4:
                new[chance.choice([f"{name}/x", "layer/", "output/a", "\x1b", "a" * 300])] = array
            case 5 if array.dtype.kind == "f" and array.size:
                array = array.copy()
                array.reshape(-1)[chance.randrange(array.size)] = chance.choice(
                    [np.nan, np.inf, 1e30]
                )
                new[name] = array
            case 6:
                meta = json.loads(str(arrays["meta"])) if "meta" in arrays else {}
                new["meta"] = np.array(
                    as_json(changed({**meta, "keras": "2", "dtype": "float32"}, chance)[0]).decode()
                )
            case 7:
                new[name] = array.T if array.ndim else array
            case _:
                new[name] = np.zeros(chance.choice([2**22, 2**20, 7]), "f4")
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **new)
    return buffer.getvalue()


def verify_record(target: Path, path: Path, arrays: dict[str, Any], is_damaged: bool) -> str:
    from converter.cli import verify_weights
    from converter.files.npz import read_arrays

    code, told = command(verify_weights, [str(target), "--against", str(path), "--device", "cpu"])
    if "Traceback" in told or "\x1b" in told:
        return f"FAILED: {told[-300:]}"
    if code not in (0, 1, *REFUSED):
        return f"FAILED: code {code}: {told[-300:]}"
    if code in (0, 1) and is_damaged:
        read = read_arrays(path, lambda name: name in arrays)
        if any(read[name].tobytes() != arrays[name].tobytes() for name in read):
            return "FAILED: a damaged record was taken, with other numbers"
    return f"code {code}"


# Configurations


CONFIGURED = (
    *("keras-2.3.1-cifar-v1", "networks/merges-k224", "keras-2.3.1-cifar-v2"),
    *("networks/shapes-k224", "networks/twice-k315", "networks/tfops-k210"),
)
"""Residual networks, and general ones: joins, shapes, a layer used twice, operators."""


def fuzz_config(cases: int, chance: random.Random, keep: Path, folder: Path) -> Campaign:
    """`--config`, as JSON and as YAML, for a file of weights."""
    import h5py
    import yaml

    warm()
    campaign = Campaign("config", keep)
    seeds = []
    for name in CONFIGURED:
        place = folder / name
        place.mkdir(parents=True)
        with (
            h5py.File(FIXTURES / f"{name}.h5") as source,
            h5py.File(place / "weights.h5", "w") as file,
        ):
            for one in source["model_weights"]:
                source.copy(f"model_weights/{one}", file)
            file.attrs.update(source["model_weights"].attrs)
            config = json.loads(source.attrs["model_config"])
        right = place / "model.json"
        right.write_bytes(as_json(config))
        seeds.append(
            (
                place / "weights.h5",
                config,
                Conversion(place / "weights.h5", place, "--config", str(right)),
            )
        )
    for number in counted(cases):
        weights, config, right = seeds[number % len(seeds)]
        data, changes = (config, []) if chance.random() < 0.3 else changed(config, chance)
        with_yaml = chance.random() < 0.4
        new = as_json(data)
        if with_yaml:
            with suppress(yaml.YAMLError, RecursionError, ValueError):
                new = yaml.dump(data, Dumper=getattr(yaml, "CSafeDumper", yaml.SafeDumper)).encode()
                new = deep(new.replace(b"'@deep@'", b'"@deep@"'))
        if data is config:
            new = damaged(new, chance, [])
        path = folder / f"case.{'yaml' if with_yaml else 'json'}"
        path.write_bytes(new)
        right.target.write_bytes(b"old")
        arguments = [
            str(weights),
            str(right.target),
            "--config",
            str(path),
            "--no-parity",
            "--force",
        ]
        result, seconds, memory = apart(lambda arguments=arguments: run(arguments))

        def taken(right: Conversion = right, changes: list[Change] = changes) -> str:
            tensors, network = right.content()
            if tensors.keys() == right.expected[0].keys() and tensors != right.expected[0]:
                return "FAILED: other numbers"
            return silent(changes, network == right.expected[1]) or "taken"

        campaign.note(judged(result, taken), new, f"{number}{path.suffix}", seconds, memory)
    return campaign


# Converted files


def fuzz_converted(cases: int, chance: random.Random, keep: Path, folder: Path) -> Campaign:
    """Descriptions in `.pth` and `.safetensors` without a checksum, and what `predict` makes of
    them."""
    import torch
    from safetensors.torch import save_file

    warm()
    campaign = Campaign("converted", keep)
    import resnet_pt

    seeds = []
    for name in CONFIGURED:
        Conversion(FIXTURES / f"{name}.h5", folder)
        state = resnet_pt.load(folder / "out.safetensors").state_dict()
        seeds.append((state.pop("_extra_state"), state))
    picture = FIXTURES / "pictures" / "rgb.png"
    for number in counted(cases):
        description, state = seeds[number % len(seeds)]
        data, _ = changed(description, chance)
        path = folder / f"case.{chance.choice(['pth', 'safetensors'])}"
        if path.suffix == ".pth":
            torch.save({**state, "_extra_state": data}, path)
        else:
            text = torch.frombuffer(bytearray(as_json(data)), dtype=torch.uint8)
            save_file({**state, "_extra_state": text}, path)
        result, seconds, memory = apart(lambda path=path, data=data: predicted(path, picture, data))
        outcome = result if not str(result).startswith("ended") else f"FAILED: {result}"
        campaign.note(outcome, path.read_bytes(), f"{number}{path.suffix}", seconds, memory)
    return campaign


def predicted(path: Path, picture: Path, data: Any) -> str:
    import resnet_pt
    from converter.cli import predict

    code, told = command(predict, [str(path), str(picture), "--preprocess", "raw"])
    if "Traceback" in told or "\x1b" in told or code not in (0, *REFUSED):
        return f"FAILED: code {code}: {told[-300:]}"
    if code == 0 or "holds no residual network" in told:
        held = {"architecture": None, "program": None} | resnet_pt.load(path).get_extra_state()
        if not any(held[key] and holds(held[key], data.get(key)) for key in KINDS):
            return "FAILED: the network is not the one that the file describes"
    return f"code {code}"


KINDS = ("architecture", "program")
"""What a description holds: a residual network, or any."""


def holds(found: Any, given: Any) -> bool:
    """Whether all that is given is there, each of its own kind."""
    if isinstance(given, dict):
        return all(key in found and holds(found[key], value) for key, value in given.items())
    if isinstance(given, list):
        return len(found) == len(given) and all(map(holds, found, given))
    is_float = type(found) is float and type(given) in (int, float)
    return bool(found == given) and (is_float or type(found) is type(given))


# Pictures


def fuzz_pictures(cases: int, chance: random.Random, keep: Path, folder: Path) -> Campaign:
    """Pictures: refused as an OSError, or what a plain use of Pillow gives."""
    warm()
    campaign = Campaign("pictures", keep)
    seeds = [
        path
        for path in sorted((FIXTURES / "pictures").iterdir())
        if path.suffix not in (".npz", ".md")
    ]
    seeds += list(more_pictures(folder))
    for number in counted(cases):
        seed = seeds[number % len(seeds)]
        path = folder / f"case{seed.suffix}"
        new = seed.read_bytes()
        for _ in range(chance.choice((1, 1, 2, 4))):
            new = damaged(new, chance, []) if new else new
        path.write_bytes(new)
        result, seconds, memory = apart(lambda path=path: looked_at(path))
        outcome = result if not str(result).startswith("ended") else f"FAILED: {result}"
        campaign.note(outcome, new, f"{number}-{seed.name}", seconds, memory)
    return campaign


def more_pictures(folder: Path) -> Iterator[Path]:
    """Of other formats, and of claims of many pixels."""
    from PIL import Image

    place = folder / "seeds"
    place.mkdir()
    image = Image.linear_gradient("L").resize((40, 30)).convert("RGB")
    for kind in ("bmp", "webp", "ppm", "tga", "pcx", "ico", "jp2", "avif"):
        with suppress(OSError, KeyError, ValueError):
            image.save(place / f"a.{kind}")
            yield place / f"a.{kind}"
    Image.new("L", (9000, 9000)).save(place / "large.png")
    yield place / "large.png"


def looked_at(path: Path) -> str:
    import warnings

    import torch
    from PIL import Image

    from resnet_pt.pictures import Preprocess
    from resnet_pt.predict import _read

    warnings.simplefilter("ignore")
    found = _read(Preprocess("raw", (16, 16)), path)
    if isinstance(found, str):
        return "refused"
    with Image.open(path) as image:
        plain = np.asarray(image.convert("RGB").resize((16, 16), Image.Resampling.NEAREST), "f4")
    same = torch.equal(found, torch.from_numpy(plain.transpose(2, 0, 1).copy()))
    return "read, as Pillow reads it" if same else "FAILED: other numbers than Pillow's"


DOORS = {
    "archive": fuzz_archive,
    "shards": fuzz_shards,
    "record": fuzz_record,
    "config": fuzz_config,
    "converted": fuzz_converted,
    "pictures": fuzz_pictures,
}
