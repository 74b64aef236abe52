"""Record what files become, and hold a later version of the code against it.

    python scripts/outcomes.py --write before.json FOLDER...
    python scripts/outcomes.py --against before.json FOLDER...

For each Keras file in the folders: its facts with their evidence, its architecture, the names and
bits of its tensors, and the bits of what the network computes from a seeded input; or the refusal,
word for word. `--to` adds what each destination writes, `--prove` the verdict against the record
beside the file (`NAME.npz`). For changes of the code that must change no outcome. Exit code 1 where
anything differs.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import os
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ.setdefault("OMP_NUM_THREADS", "1")

DESTINATIONS = ("torchvision", "timm", "transformers", "detectron2", "mmpretrain")
SUFFIXES = (".h5", ".keras", ".hdf5")
SIZE = 65
"""Height and width of the seeded input, where the network does not fix its own; odd, so that
'same' and explicit padding differ."""


def main() -> int:
    options = parse()
    files = sorted(
        path for folder in options.folders for path in folder.rglob("*") if path.suffix in SUFFIXES
    )
    spawned = multiprocessing.get_context("spawn")
    found: dict[str, Any] = {}
    with ProcessPoolExecutor(options.jobs, mp_context=spawned) as pool:
        tasks = [(path, options.to, options.prove) for path in files]
        for path, outcome in zip(files, pool.map(outcome_of, tasks), strict=True):
            found[str(path)] = outcome
            print(f"{path}: {summary(outcome)}", file=sys.stderr, flush=True)
    if options.write:
        options.write.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
    return report(json.loads(options.against.read_text()), found) if options.against else 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--write", type=Path, help="where the outcomes go")
    parser.add_argument("--against", type=Path, help="outcomes that these have to equal")
    parser.add_argument("--to", action="store_true", help="what each destination writes too")
    parser.add_argument("--prove", action="store_true", help="the verdict against a record too")
    parser.add_argument("--jobs", type=int, default=2)
    return parser.parse_args()


def outcome_of(task: tuple[Path, bool, bool]) -> dict[str, Any]:
    """Everything that is recorded of one file."""
    path, to, prove = task
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "out.safetensors"
        found["converted"] = converted(path, target)
        if target.exists():
            found["loaded"] = loaded(target)
            for name in DESTINATIONS if to else ():
                found[name] = converted(path, Path(folder) / name, to=name)
        record = path.with_suffix(".npz")
        if prove and record.exists():
            proven = converted(path, Path(folder) / "proven.pth", against=record)
            found["proven"] = {name: proven.get(name) for name in ("verdict", "refused", "message")}
    return found


def converted(source: Path, target: Path, **options: Any) -> dict[str, Any]:
    """The facts and files that a conversion gives, or its refusal."""
    from converter.conversion import convert
    from converter.errors import ConvertError

    settings = {"parity": False, "device": "cpu", **options}
    if "against" in options:
        del settings["parity"]
    try:
        report = convert(source, target, **settings)
    except ConvertError as error:
        message = str(error).replace(str(target.parent), "FOLDER")
        return {"refused": type(error).__name__, "message": message}
    facts = [(fact.name, str(fact.value), fact.evidence) for fact in report.facts]
    return {"facts": facts, "verdict": report.verdict, "files": bits(target)}


def bits(target: Path) -> dict[str, str]:
    """`{tensor or file: digest}` of what was written."""
    from safetensors.numpy import load_file

    files = sorted(target.rglob("*")) if target.is_dir() else [target]
    found = {}
    for path in files:
        if path.suffix == ".safetensors":
            for name, array in load_file(path).items():
                found[f"{path.name}:{name}"] = f"{array.shape} {digest(array.tobytes())}"
    return {name: value for name, value in found.items() if not name.endswith("_extra_state")}


def loaded(target: Path) -> dict[str, Any]:
    """The architecture of a converted file, and what it computes."""
    import torch

    import resnet_pt

    torch.set_num_threads(1)
    model = resnet_pt.load(target)
    architecture = model.architecture
    height, width = architecture.input_size or (SIZE, SIZE)
    chance = torch.Generator().manual_seed(20)
    picture = torch.rand((1, architecture.in_channels, height, width), generator=chance) * 255 - 100
    found: dict[str, Any] = {
        "architecture": architecture.to_dict(),
        "names": list(model.state_dict()),
    }
    try:
        with torch.inference_mode():
            outputs = model(picture)
    except RuntimeError as error:  # a head for maps of one size, which the file does not tell
        return {**found, "computed": str(error)}
    outputs = outputs if isinstance(outputs, dict) else {"": outputs}
    computed = {
        name: f"{tuple(value.shape)} {digest(value.numpy().tobytes())}"
        for name, value in outputs.items()
    }
    return {**found, "computed": computed}


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def summary(outcome: dict[str, Any]) -> str:
    return str(outcome["converted"].get("refused", outcome["converted"].get("verdict")))


def report(before: Any, after: Any) -> int:
    """What differs, on stdout; 1 if anything does."""
    after = json.loads(json.dumps(after))
    common = [name for name in before if name in after]
    lines = [line for name in common for line in differences(before[name], after[name], name)]
    print("\n".join(lines[:200]))
    print(f"{len(common)} files, {len(lines)} differences; {len(before) - len(common)} are missing")
    return int(bool(lines))


def differences(before: Any, after: Any, where: str) -> list[str]:
    if isinstance(before, dict) and isinstance(after, dict):
        names = sorted({*before, *after})
        found = (differences(before.get(n), after.get(n), f"{where} · {n}") for n in names)
        return [line for one in found for line in one]
    return [] if before == after else [f"{where}: {before} → {after}"]


if __name__ == "__main__":
    sys.exit(main())
