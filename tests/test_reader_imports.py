"""What the reader's process imports: numpy, h5py and the readers, wherever other packages lie."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import FIXTURES, fixture

from converter.files.isolation import process, wire


def alone(folder):
    """A folder with the packages that the process is given, and nothing beside them."""
    for name in ("numpy", "h5py", "converter"):
        home = Path(importlib.util.find_spec(name).origin).parent
        for one in (home, home.with_name(f"{name}.libs")):  # the libraries that a wheel bundles
            if one.is_dir():
                (folder / one.name).symlink_to(one)
    return folder


def started(folder, job):
    """The frames that a process with `folder` alone on its path answers a job with, and the
    modules that it has imported by then."""
    told = "import atexit, sys; atexit.register(lambda: sys.stderr.write(' '.join(sys.modules)));"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-B", "-c", told + process.RUN, str(folder)],
        input=json.dumps(job).encode() + b"\n",
        capture_output=True,
        check=False,
    )
    tag, length = wire.HEADER.unpack(done.stdout[: wire.HEADER.size])
    content = done.stdout[wire.HEADER.size : wire.HEADER.size + length]
    return tag, content, done.stderr.decode().split()


@pytest.mark.slow
def test_files_of_every_container_are_read_with_numpy_and_h5py_alone(tmp_path):
    folder = alone(tmp_path)
    for path in (
        fixture("keras-2.2.4-tensorflow"),
        FIXTURES / "keras-3.15-nested-head.keras",
        FIXTURES / "keras-3.0.5-conv_block.weights.h5",
        FIXTURES / "keras-3.15-sharded.weights.json",
    ):
        tag, content, _ = started(folder, {"path": str(path), "folder": str(tmp_path)})

        assert tag == wire.MANIFEST, content[:400]
        assert json.loads(content)["weights"]


@pytest.mark.slow
def test_nothing_else_is_imported(tmp_path):
    path = fixture("keras-2.2.4-tensorflow")

    *_, imported = started(alone(tmp_path), {"path": str(path), "folder": str(tmp_path)})

    tops = {name.partition(".")[0] for name in imported}
    assert tops - set(sys.stdlib_module_names) - compiled(tops) == {"numpy", "h5py", "converter"}


def compiled(tops):
    """What Cython's modules register for themselves, and the name of the program."""
    return {one for one in tops if one.startswith(("_cython", "cython_runtime"))} | {"__main__"}
