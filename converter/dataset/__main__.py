"""A data set compared from the command line:

python -m converter.dataset out.pth --images photos/ --against record.npz
python -m converter.dataset out.pth --images photos/ --model model.h5 --recorder record_keras.py
torchrun --nproc-per-node 4 -m converter.dataset out.pth …
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from converter.cli.running import told
from converter.cli.text import bar, dataset_lines
from converter.dataset.pictures import Size, Transform
from converter.dataset.results import DatasetComparison
from converter.dataset.run import Original, compare_images
from converter.dataset.spread import Group, processes
from converter.report import finite


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m converter.dataset",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("target", type=Path, help="a converted network")
    parser.add_argument("--images", type=Path, required=True, metavar="DIR", help="pictures")
    original = parser.add_mutually_exclusive_group(required=True)
    original.add_argument(
        "--against", type=Path, metavar="RECORD.npz", help="the original's record"
    )
    original.add_argument("--model", type=Path, metavar="MODEL.h5", help="the original itself")
    parser.add_argument(
        "--keras-python", default=sys.executable, metavar="PATH", help="its Keras' interpreter"
    )
    parser.add_argument(
        "--recorder", type=Path, help="record_keras.py; without it the bundled definition is run"
    )
    parser.add_argument(
        "--build", metavar="MODULE:FUNCTION", help="what builds a weights-only model"
    )
    parser.add_argument("--transform", metavar="MODULE:FUNCTION", help="the preprocessing")
    parser.add_argument(
        "--size", type=_size, metavar="HxW", help="where the network leaves it open"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--workers", type=int, default=0, help="processes that load pictures")
    parser.add_argument("--state", type=Path, metavar="DIR", help="what is done, to go on from")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    return parser.parse_args(arguments)


def _size(text: str) -> Size:
    height, _, width = text.partition("x")
    return int(height), int(width or height)


def _transform(reference: str | None) -> Transform:
    if reference is None:
        return lambda pictures: pictures
    module, _, name = reference.partition(":")
    found: Transform = getattr(importlib.import_module(module), name)
    return found


def run(options: argparse.Namespace, group: Group) -> DatasetComparison:
    original = Original(
        options.against or options.model,
        is_record=bool(options.against),
        python=options.keras_python,
        recorder=options.recorder,
        build=options.build,
    )
    with bar("pictures", group.is_first) as progress:
        return compare_images(
            options.target,
            options.images,
            original,
            transform=_transform(options.transform),
            transform_name=options.transform,
            size=options.size,
            wanted_device=options.device,
            batch_size=options.batch_size,
            workers=options.workers,
            state=options.state,
            group=group,
            progress=progress,
        )


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    try:
        with processes() as group:
            found = run(options, group)
    except Exception as error:
        return told(error, options.debug)
    if group.is_first:
        print("\n".join(dataset_lines(found)), file=sys.stderr)
        if options.json:
            options.json.write_text(json.dumps(finite(found.to_dict()), indent=1) + "\n")
    return 0 if found.passes else 1


if __name__ == "__main__":
    sys.exit(main())
