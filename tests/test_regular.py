"""Pictures, labels and the like are plain files below a size: nothing else is waited for."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import zlib

import pytest
from click.testing import CliRunner
from helpers import FIXTURES, fixture
from PIL import Image

from converter.cli import predict
from converter.conversion import convert
from converter.dataset.pictures import Batches, find_pictures, fingerprint
from resnet_pt import pictures
from resnet_pt.labels import read_labels
from resnet_pt.pictures import Preprocess
from resnet_pt.predict import suffixes
from resnet_pt.regular import open_regular, read_regular

PICTURE = FIXTURES / "pictures" / "rgb.png"
SOURCE = fixture("keras-2.2.4-tensorflow")


@pytest.fixture
def odd(tmp_path):
    """A folder with a picture, and what is none: opening the pipe would wait for ever."""
    folder = tmp_path / "odd"
    folder.mkdir()
    (folder / "a.png").write_bytes(PICTURE.read_bytes())
    os.mkfifo(folder / "pipe.jpg")
    (folder / "endless.jpg").symlink_to("/dev/zero")
    (folder / "folder.jpg").mkdir()
    (folder / "nowhere.jpg").symlink_to("nothing")
    return folder


@pytest.mark.slow
def test_predict_names_what_is_no_plain_file_and_goes_on(odd, tmp_path):
    convert(SOURCE, tmp_path / "out.pth", parity=False, preprocess="caffe")

    for images in ([odd], sorted(odd.iterdir())):
        arguments = [str(one) for one in (tmp_path / "out.pth", *images, "--size", 64)]
        result = CliRunner().invoke(predict, arguments)

        assert result.exit_code == 3
        assert "a.png" in result.stdout
        assert "pipe.jpg is not read: it is a pipe, not a file" in result.stderr
        assert "endless.jpg is not read: it is a device or socket, not a file" in result.stderr
        assert "nowhere.jpg is not read: No such file" in result.stderr


def test_a_data_set_names_what_is_no_plain_file(odd):
    names = find_pictures(odd)
    assert fingerprint(odd, names)

    batch = Batches(odd, names, 9, (8, 8), 3, lambda x: x)[0]

    assert [names[index] for index in batch.indexes] == ["a.png"]
    assert {names[index] for index in batch.unreadable} == set(names) - {"a.png"}


def test_labels_are_a_plain_file(odd):
    for name in ("pipe.jpg", "endless.jpg", "folder.jpg"):
        with pytest.raises(OSError, match="not a file"):
            read_labels(odd / name)


def test_a_size_is_held_to(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"x" * 100)

    assert read_regular(path, 100) == b"x" * 100
    with pytest.raises(OSError, match="it has 100 bytes, over the limit of 99"):
        open_regular(path, 99)


@pytest.mark.slow
def test_a_picture_of_too_many_pixels_is_refused_before_it_is_decoded(tmp_path):
    """Of a few hundred KB that would become 400 MB."""
    row = b"\0" + b"\0" * 12000 * 3
    packer = zlib.compressobj(9)
    packed = b"".join(packer.compress(row) for _ in range(12000)) + packer.flush()
    content = b"\x89PNG\r\n\x1a\n"
    header = (12000).to_bytes(4, "big") * 2 + bytes([8, 2, 0, 0, 0])
    for name, part in ((b"IHDR", header), (b"IDAT", packed), (b"IEND", b"")):
        check = zlib.crc32(name + part).to_bytes(4, "big")
        content += len(part).to_bytes(4, "big") + name + part + check
    (tmp_path / "a.png").write_bytes(content)
    began = time.process_time()

    with pytest.raises(OSError, match=r"144,?000,?000 pixels"):
        Preprocess("raw", (8, 8))(tmp_path / "a.png")

    assert time.process_time() - began < 0.5


def test_few_large_pictures_are_decoded_at_a_time(tmp_path, monkeypatch):
    now, most = [], []

    def load(image):
        now.append(image)
        most.append(len(now))
        time.sleep(0.05)
        now.pop()

    Image.new("RGB", (50, 50)).save(tmp_path / "a.png")
    monkeypatch.setattr(pictures, "_room", pictures._Room(25_000))
    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", load)
    some = [threading.Thread(target=pictures.read, args=(tmp_path / "a.png",)) for _ in range(8)]
    for one in some:
        one.start()
    for one in some:
        one.join()

    assert max(most) == 2
    assert len(most) == 8


def test_a_format_that_is_run_or_decoded_in_python_is_no_picture(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n{ } loop\n")

    with pytest.raises(OSError, match="no picture of a kind that is known here"):
        pictures.read(tmp_path / "a.jpg")
    assert suffixes() & {".eps", ".ps", ".qoi", ".pdf", ".h5"} == set()
    assert suffixes() >= {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".webp", ".ppm"}


def test_whatever_pillow_raises_is_an_os_error(monkeypatch):
    def load(image):
        raise AssertionError("a decoder's own")

    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", load)

    with pytest.raises(OSError, match="a damaged picture: a decoder's own"):
        pictures.read(PICTURE)


def test_the_program_that_records_in_an_old_keras_waits_for_no_pipe(odd):
    recorder = FIXTURES.parent / "scripts" / "record_keras.py"
    code = (
        f"import runpy; found = runpy.run_path({str(recorder)!r})\n"
        "import types; keras = types.SimpleNamespace(utils=types.SimpleNamespace(load_img=print))\n"
        f"found['photos'](keras, {str(odd)!r}, 8, 8, 'raw')"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)

    assert "endless.jpg is no plain file" in done.stderr
