"""Break the code that maps weights, one line at a time, and see that a test fails each time.

    python scripts/mutate.py                    # all
    python scripts/mutate.py converter/mapping/plan.py  # those of one file

Each mutant is a line of `converter/` or `resnet_pt/` changed in a copy; the tests below are run on
it. The exit code is the number of mutants that none of them notices, less those explained here.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent

TESTS = (
    "tests/test_plan.py",
    "tests/test_hdf5.py",
    "tests/test_consistency.py",
    "tests/test_reader_child.py",
    "tests/test_isolation.py::test_arrays_come_in_the_order_asked_for_and_again",
    "tests/test_isolation.py::test_what_a_reading_left_is_dropped_by_the_next",
    "tests/test_fixtures.py",
)
"""Those that read and map, fastest first; the whole suite has more."""

TRANSFORMS, PLAN = "converter/mapping/transforms.py", "converter/mapping/plan.py"
CHECKPOINT, NORM = "converter/files/checkpoint.py", "resnet_pt/ops/norm.py"
HDF5 = "converter/files/readers/_hdf5.py"
READER, CHILD = "converter/files/isolation/reader.py", "converter/files/isolation/child.py"

MUTANTS: tuple[tuple[str, str, str], ...] = (
    # converter/mapping/transforms.py: how numbers move
    (TRANSFORMS, "Transpose((3, 2, 0, 1)", "Transpose((3, 2, 1, 0)"),
    (TRANSFORMS, "Transpose((3, 2, 0, 1)", "Transpose((2, 3, 0, 1)"),
    (TRANSFORMS, "Transpose((1, 0)", "Transpose((0, 1)"),
    (TRANSFORMS, "Flip((0, 1))", "Flip((0, 2))"),
    (TRANSFORMS, "Flip((0, 1))", "Flip((2, 3))"),
    (TRANSFORMS, "Flip((2, 3))", "Flip((0, 1))"),
    (TRANSFORMS, "np.flip(array, self.axes)", "np.flip(array, self.axes[0])"),
    (TRANSFORMS, "np.argsort(self.axes)", "self.axes"),
    (TRANSFORMS, "np.square(array.astype(np.float64))", "array.astype(np.float64)"),
    (TRANSFORMS, "np.sqrt(array.astype(np.float64))", "array.astype(np.float64)"),
    (TRANSFORMS, ") + self.eps)", "))"),
    (TRANSFORMS, ") + self.eps)", ") - self.eps)"),
    (TRANSFORMS, "COMPUTED = (Square, OutsideRoot, Row)", "COMPUTED = (Square, Row)"),
    # converter/mapping/plan.py: which array goes where
    (PLAN, "for transform in self.transforms:", "for transform in ():"),
    (PLAN, "in reversed(self.transforms)", "in self.transforms"),
    (PLAN, "_contiguous(as_float32(array))", "as_float32(array)"),
    (PLAN, "1)).transpose(2, 3, 0, 1)", "1)).transpose(3, 2, 0, 1)"),
    (PLAN, ".flags.c_contiguous:", ".flags.f_contiguous:"),
    (PLAN, "return not any(", "return any("),
    (PLAN, "np.full(self.shape, self.constant,", "np.full(self.shape, 0,"),
    (PLAN, '"num_batches_tracked")', '"num_batches")'),
    (PLAN, "if step.source)", "if not step.source)"),
    (PLAN, "in by_source[weight]:", "in next(iter(by_source.values())):"),
    (PLAN, "is None:\n                yield", "is True:\n                yield"),
    (PLAN, "set(network.left_out)", "set(checkpoint.weights)"),
    (PLAN, "elif target.parameter and target.required:", "elif False:"),
    (PLAN, "misfits += _shape_misfit(step)", "pass"),
    (PLAN, "checkpoint.weights if one not in used", "checkpoint.weights if False"),
    (PLAN, "else problems(network.architecture)", "else []"),
    (PLAN, "if target.required else None", "if True else None"),
    (PLAN, "constant=target.constant", "constant=1.0"),
    (PLAN, 'if parameter == "moving_variance":', "if False:"),
    (PLAN, 'if parameter != "kernel":', "if False:"),
    (PLAN, "(IO_TO_OI,) if isinstance", "() if isinstance"),
    (PLAN, "(FLIP_HWIO, HWIO_TO_OIHW)", "(HWIO_TO_OIHW,)"),
    (PLAN, "(FLIP_HWIO, HWIO_TO_OIHW)", "(HWIO_TO_OIHW, FLIP_HWIO)"),
    (PLAN, "flipped=False): (),", "flipped=False): (FLIP_OIHW,),"),
    (PLAN, "if shape == step.shape:", "if True:"),
    # converter/files/checkpoint.py: what a parameter is
    (CHECKPOINT, '"gamma": "gamma"', '"gamma": "beta"'),
    (CHECKPOINT, '"running_std": "moving_variance"', '"running_std": "moving_mean"'),
    (CHECKPOINT, '"running_mean": "moving_mean"', '"running_mean": "moving_variance"'),
    (CHECKPOINT, "dtype=np.float32)", "dtype=np.float16)"),
    # resnet_pt/ops/norm.py: what torch calls it
    (NORM, '"gamma"', '"beta"'),
    (NORM, '"moving_mean"', '"moving_variance"'),
    # converter/readers: the file's own bytes
    (HDF5, 'array.dtype.newbyteorder("=")', 'array.dtype.newbyteorder("S")'),
    (READER, "owed.popleft())", "owed.pop())"),
    (CHILD, 'array.dtype.newbyteorder("<")', 'array.dtype.newbyteorder(">")'),
)  # fmt: skip

EXPLAINED: dict[tuple[str, str], str] = {
    ('array.dtype.newbyteorder("=")', 'array.dtype.newbyteorder("S")'): (
        "the same numbers with their bytes the other way round, and a dtype that says so"
    ),
    (".flags.c_contiguous:", ".flags.f_contiguous:"): "the same numbers, copied once more or less",
}
"""Mutants that these tests may miss, and why that loses nothing."""


def survives(path: str, old: str, new: str) -> bool:
    """Whether the tests pass with a change. AssertionError if the line is no longer there."""
    source = (ROOT / path).read_text()
    assert old in source, f"{path} no longer has {old!r}"
    with tempfile.TemporaryDirectory(prefix="mutant-") as name:
        folder = Path(name)
        for part in ("converter", "resnet_pt", "tests"):
            shutil.copytree(ROOT / part, folder / part)
        for part in ("fixtures", "scripts", "pyproject.toml"):
            (folder / part).symlink_to(ROOT / part)
        (folder / path).write_text(source.replace(old, new, 1))
        environment = {**os.environ, "PYTHONPATH": name}
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"]
        done = subprocess.run(
            [*command, *TESTS], cwd=folder, env=environment, capture_output=True, check=False
        )
    return done.returncode == 0


def main() -> int:
    chosen = [one for one in MUTANTS if one[0] in (sys.argv[1:] or [one[0]])]
    found = 0
    for path, old, new in chosen:
        outcome = "noticed"
        if survives(path, old, new):
            reason = EXPLAINED.get((old, new))
            found += reason is None
            outcome = f"SURVIVES: {reason or 'nobody knows why'}"
        print(f"{path}: {old} → {new}: {outcome}", flush=True)
    print(f"{len(chosen)} mutants, {found} survive without a reason")
    return min(found, 100)


if __name__ == "__main__":
    sys.exit(main())
