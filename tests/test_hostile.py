"""Every kind of broken or hostile file that is known: refused in a few words, quickly, and without
a trace.

Sources: the CVEs of HDF5 and Keras up to 2026, the issues of h5py, keras and HDF5 about links,
external storage, amplification and hangs (`SECURITY.md`).
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import marshal
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import hostile as h
import numpy as np
import pytest
from edits import edited, layer, reconfigured, refusal_here
from helpers import copy, fixture, weights_only
from hostile import KERNEL, SHAPE, at, run_apart

from converter.errors import SourceError
from converter.files.source import read_here

PATH = fixture("keras-2.2.4-tensorflow")
MEMORY = 256 * 2**20
SECRET = b"the content of another file"


@pytest.fixture(scope="session")
def alone(tmp_path_factory):
    """The weights-only file that the changes are made to."""
    return weights_only(PATH, tmp_path_factory.mktemp("alone"))


def listing(folder):
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None
        for path in folder.iterdir()
    }


def refused(source, code, *words, seconds=3.0, seen=True):
    """The whole promise: exit code, a few lines that name the file, no traceback, no signal,
    nothing written, little time and memory, and no torch. What can be seen (`seen`) is refused
    without the help of limits too."""
    target = source.parent / "out.pth"
    target.write_bytes(b"an older target")
    before = listing(source.parent)

    done = run_apart(source, target, "--force", "--no-parity")

    assert done.code == code, done.stderr
    assert done.stdout == ""
    lines = done.stderr.partition('\n\n"""Layers of')[0].splitlines()  # and the file to fill in
    assert lines[0].startswith("Error: ")
    assert len(lines) <= 12, done.stderr
    assert max(map(len, lines)) <= 700
    assert source.name in lines[0]
    assert "Traceback" not in done.stderr
    assert SECRET.decode() not in done.stderr
    assert all(line.isprintable() for line in lines), done.stderr
    for word in words:
        assert word in done.stderr
    assert listing(source.parent) == before
    assert done.cpu < seconds
    assert done.memory < MEMORY
    if seen:
        assert refusal_here(source) in (None, code)


def changed(alone, folder, change):
    source = copy(alone, folder)
    (folder / "stolen.bin").write_bytes(SECRET * 100)
    with h5py.File(folder / "stolen.h5", "w") as other:
        other["x"] = np.ones(SHAPE, "f4")
    with h5py.File(source, "a") as file:
        change(file)
    return source


LINK = "is a link to elsewhere"
TYPES = {
    "int8": np.int8,
    "int64": np.int64,
    "bool": np.bool_,
    "complex": np.complex64,
    "compound": [("a", "f4"), ("b", "f4")],
    "string": "S4",
    "reference": h5py.ref_dtype,
    "variable length": h5py.vlen_dtype(np.float32),
    "opaque": "V4",
}

ROWS = [
    # Links out of the file, or within it: Keras follows them (CVE-2026-1669).
    ("external link to a layer", h.layer_elsewhere, 4, "'conv1' " + LINK),
    ("external link to an array", at(KERNEL, h.external_link), 4, f"'{KERNEL[6:]}' {LINK}"),
    ("external link on the way", h.link_on_the_way, 4, LINK),
    ("soft link", at(KERNEL, h.soft_link("/conv1/conv1/bias:0")), 4, LINK),
    ("soft link to nothing", at(KERNEL, h.soft_link("/nowhere")), 4, LINK),
    ("soft link to itself", at(KERNEL, h.soft_link(f"/{KERNEL}")), 4, LINK),
    ("external storage", at(KERNEL, h.external_storage), 4, "in another file"),
    ("view of another file", at(KERNEL, h.view_of("stolen.h5")), 4, "virtual dataset"),
    ("view of itself", at(KERNEL, h.view_of(".")), 4, "virtual dataset"),
    ("a hard link upwards, and around", h.cycle, 4, "nested deeper than"),
    ("one array under two names", h.same_object, 5, "one and the same array"),
    # Sizes that nobody has.
    (
        "a petabyte declared",
        at(KERNEL, h.stored((2**20, 2**25), "f8", chunks=(1, 1024))),
        4,
        "over the limit",
    ),
    (
        "arrays of just under the limit",
        h.many_just_under,
        3,
        "never written",
    ),
    ("a chunk of a gigabyte", at(KERNEL, h.stored(SHAPE, "f4", **h.HUGE_CHUNK)), 4, "chunks over"),
    ("a kilobyte that is 64 megabytes", at(KERNEL, h.bomb), 5, "(16777216,)"),
    ("1,000 groups deep", h.deep, 4, "nested deeper than"),
    ("30,000 names", h.names("conv1", *[b"x"] * 30_000), 4, "over the limit"),
    ("a name of 2,000 letters", h.names("conv1", b"x" * 2000), 4, "not a name"),
    ("numbers for names", h.names("conv1", 1, 2, 3), 4, "not a name"),
    # Filters.
    ("a filter by plug-in", at(KERNEL, h.filtered(lambda p: p.set_filter(32015, 1))), 4, "32015"),
    ("lzf", at(KERNEL, h.stored(SHAPE, "f4", compression="lzf")), 4, "filter 32000 (lzf)"),
    ("scale-offset", at(KERNEL, h.filtered(lambda p: p.set_scaleoffset(0, 2))), 4, "filter 6"),
    ("n-bit", at(KERNEL, h.filtered(lambda p: p.set_filter(5))), 4, "filter 5"),
    # Data that are not there.
    ("never written", at(KERNEL, h.stored(SHAPE, "f4")), 3, "never written"),
    ("half of it written", at(KERNEL, h.half_written), 3, "never written"),
    (
        "filled with NaN",
        at(KERNEL, h.stored(SHAPE, "f4", fillvalue=np.nan)),
        3,
        "never written",
    ),
    # Kinds and shapes of arrays.
    *(
        (f"{name} for numbers", at(KERNEL, h.of_type(kind)), 5, "not floating-point")
        for name, kind in TYPES.items()
    ),
    ("long double", at(KERNEL, h.plain(np.ones(SHAPE, np.longdouble))), 5, "no float16"),
    ("no dataspace", at(KERNEL, h.plain(h5py.Empty("f4"))), 5, "is empty"),
    ("a scalar", at(KERNEL, h.plain(np.float32(1))), 5, "conv1"),
    ("no elements", at(KERNEL, h.plain(np.ones((7, 7, 3, 0), "f4"))), 5, "conv1"),
    ("three axes", at(KERNEL, h.plain(np.ones((7, 7, 3), "f4"))), 5, "conv1"),
    ("a group for an array", at(KERNEL, lambda f, p: f.create_group(p)), 3, "is not an array"),
    ("an array for a group", at("conv1", h.plain(np.ones(3, "f4"))), 3, "is not a group"),
    # Layers.
    ("a layer missing", h.without("bn3b_branch2b"), 5, "bn3b_branch2b"),
    ("a layer too many", h.with_extra, 5, "extra"),
    ("a layer listed and not there", lambda f: f.pop("conv1"), 3, "'conv1'"),
    ("an array listed and not there", lambda f: f.pop(KERNEL), 3, "conv1/conv1/kernel:0"),
    ("a layer twice", h.layer_twice, 3, "two layers of one name"),
    ("a weight twice", h.names("conv1", b"conv1/bias:0", b"conv1/bias:0"), 5, "the same"),
    ("a name in other case", h.renamed(b"bn_conv1", b"BN_conv1"), 5, "bn_conv1"),
    ("a name with a space behind", h.renamed(b"bn_conv1", b"bn_conv1 "), 5, "bn_conv1"),
    ("a name of accents", h.renamed(b"conv1", "conv1\u0301".encode()), 5, "conv1"),
    ("a name that steers terminals", h.renamed(b"conv1", b"\x1b[2Jconv\n1"), 5, "\\x1b[2J"),
    ("a name that is no UTF-8", h.renamed(b"conv1", b"caf\xe9"), 5, "caf\\udce9"),
    # Layouts that no transform gives.
    ("HWOI", at(KERNEL, h.plain(np.ones((7, 7, 4, 3), "f4"))), 5, "conv1"),
    ("OHWI", at(KERNEL, h.plain(np.ones((4, 7, 7, 3), "f4"))), 5, "conv1"),
    ("a classifier turned", h.classifier_turned, 5, "fc1000"),
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "code", "word"),
    [pytest.param(change, code, word, id=name) for name, change, code, word in ROWS],
)
def test_a_changed_file_is_refused(change, code, word, alone, tmp_path):
    refused(changed(alone, tmp_path, change), code, word)


@pytest.mark.slow
def test_links_and_attributes_beside_the_layers_do_no_harm(alone, tmp_path):
    linked, noted = copy(alone, tmp_path, "linked.h5"), copy(alone, tmp_path, "noted.h5")
    with h5py.File(linked, "a") as file:
        h.many_links(file)
    h.many_attributes(noted)

    for source in (linked, noted):
        done = run_apart(source, source.with_suffix(".safetensors"), "--no-parity")

        assert done.code == 0, done.stderr
        assert done.cpu < 5
        assert done.memory < MEMORY


@pytest.mark.slow
def test_a_name_that_is_a_megabyte_400_times_is_refused(alone, tmp_path):
    source = copy(alone, tmp_path)
    h.amplify(source)
    with h5py.File(source) as file:  # it is what it claims to be
        assert (
            file["conv1"].attrs.get_id("weight_names").get_space().get_simple_extent_npoints()
            == 400
        )

    refused(source, 4, "needs more memory than a file of its size should", seen=False)


HANGS = sorted((Path(__file__).parent / "hostile_files").glob("hang_*.h5"))


@pytest.mark.slow
def test_files_that_hang_hdf5_are_given_up(tmp_path):
    """Found by mutation of a file's metadata: reading an attribute never ends, and ignores SIGINT
    (HDFGroup/hdf5#1707)."""
    assert len(HANGS) == 3
    with ThreadPoolExecutor(3) as pool:
        runs = pool.map(lambda path: run_apart(path, tmp_path / f"{path.stem}.pth"), HANGS)

    for done in runs:
        assert done.code == 4, done.stderr
        assert done.wall < 20
        assert done.memory < MEMORY
        assert "cannot be read safely" in done.stderr
        assert len(done.stderr.splitlines()) <= 12
    assert list(tmp_path.iterdir()) == []


WHOLE = PATH.read_bytes()
CONTENTS = [
    ("empty", b"", "is empty"),
    ("web page", b"<!DOCTYPE html><html>Not Found", "a web page"),
    ("git-lfs", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a Git LFS pointer"),
    ("gzip", gzip.compress(WHOLE, 1), "gzip: unpack it"),
    ("zip", b"PK\x03\x04" + bytes(60), "a zip archive"),
    ("old torch", b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P", "a Python pickle"),
    ("safetensors", b'\x10\0\0\0\0\0\0\0{"a": {}}       ', "is not an HDF5 file"),
    ("frozen graph", b"\n\x1d\n\x05input\x12\x0bPlaceholder", "is not an HDF5 file"),
    ("cut to 0.1 %", WHOLE[: len(WHOLE) // 1000], "is damaged or cut off"),
    ("cut to 50 %", WHOLE[: len(WHOLE) // 2], "is damaged or cut off"),
    ("cut to 99.9 %", WHOLE[: len(WHOLE) * 999 // 1000], "is damaged or cut off"),
    ("cut by a byte", WHOLE[:-1], "is damaged or cut off"),
]


@pytest.mark.parametrize(
    ("content", "word"), [pytest.param(c, word, id=name) for name, c, word in CONTENTS]
)
def test_what_is_no_hdf5_is_called_what_it_is(content, word, tmp_path):
    source = tmp_path / "source.h5"
    source.write_bytes(content)

    refused(source, 3, word)


@pytest.mark.parametrize("kind", ["missing", "directory", "pipe", "/dev/zero", "/dev/null"])
def test_what_is_no_file_is_refused_at_once(kind, tmp_path):
    source = Path(kind) if kind.startswith("/") else tmp_path / "source.h5"
    if kind == "directory":
        source.mkdir()
    elif kind == "pipe":
        os.mkfifo(source)

    done = run_apart(source, tmp_path / "out.pth")

    assert done.code == 3, done.stderr
    assert str(source) in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.cpu < 3
    assert not (tmp_path / "out.pth").exists()


def test_a_file_that_may_not_be_read_is_code_3(tmp_path, monkeypatch):
    source = copy(PATH, tmp_path)
    source.chmod(0)
    if os.access(source, os.R_OK):  # root may

        def denied(*arguments):
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(h5py, "File", denied)

    with pytest.raises(SourceError, match="permission denied"), read_here(source):
        pass


@pytest.mark.slow
def test_a_file_that_is_being_written_is_code_3(alone, tmp_path):
    source = copy(alone, tmp_path)
    with h5py.File(source, "a"):
        done = run_apart(source, tmp_path / "out.pth")

    assert done.code == 3
    assert "is locked: another process is writing it" in done.stderr


@pytest.mark.slow
def test_a_configuration_that_is_nested_without_end_is_code_4(tmp_path):
    def nest(file):
        file.attrs.create("model_config", "[" * 10**7, dtype=h5py.string_dtype())

    refused(edited(PATH, tmp_path, nest), 4, "nested too deeply")


@pytest.mark.slow
def test_a_configuration_over_the_limit_is_code_4(tmp_path):
    def enlarge(file):
        text = file.attrs["model_config"] + " " * 2**24
        file.attrs.create("model_config", text, dtype=h5py.string_dtype())

    refused(edited(PATH, tmp_path, enlarge), 4, "over the limit")


@pytest.mark.slow
@pytest.mark.parametrize("is_compiled", [False, True])
def test_code_in_a_configuration_is_data(is_compiled, tmp_path):
    """A Lambda's code, a class by its module, an import by name: nothing of it is run."""
    marker = tmp_path / "ran"

    def rewrite(config):
        code = f"__import__('pathlib').Path({str(marker)!r}).touch()"
        if is_compiled:
            function = eval(f"lambda x: {code}").__code__
            code = base64.encodebytes(marshal.dumps(function)).decode("ascii")
        one = layer(config, "activation_1")
        one["class_name"] = "Lambda"
        one["config"] = {"name": "activation_1", "function": [code, None, None], "module": "os"}

    refused(reconfigured(PATH, tmp_path, rewrite), 5, "Lambda")
    assert not marker.exists()


@pytest.mark.slow
def test_what_is_stored_beside_the_model_is_not_looked_at(tmp_path):
    def add(file):
        file["optimizer_weights/Adam/x"] = h5py.ExternalLink("stolen.h5", "/x")
        file["optimizer_weights/y"] = np.full(3, np.nan, "f4")

    source = edited(PATH, tmp_path, add)

    assert run_apart(source, tmp_path / "out.safetensors", "--no-parity").code == 0


@pytest.mark.slow
def test_no_file_that_is_named_inside_is_opened(alone, tmp_path):
    """Not even to see whether it is there: `strace` watches every process of a run."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is not installed")
    for number, (name, change, *_) in enumerate(ROWS):
        if not name.startswith(("external", "soft", "view", "a filter by plug-in")):
            continue
        (tmp_path / str(number)).mkdir()
        source = changed(alone, tmp_path / str(number), change)
        log = tmp_path / "log"
        command = [strace, "-f", "-e", "trace=openat,open,stat,newfstatat", "-o", log]
        arguments = [sys.executable, "-c", h.COMMAND, source, tmp_path / "out.pth"]
        subprocess.run([*command, *arguments], check=False, capture_output=True)

        opened = log.read_text()
        assert str(source) in opened
        assert "stolen" not in opened, name
        assert "/hdf5/lib/plugin" not in opened, name
