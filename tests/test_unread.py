"""What Keras cannot read is given to no other oracle."""

from __future__ import annotations

import errno
import zipfile
import zlib
from dataclasses import replace

import pytest
from helpers import FIXTURES, fixture, opened

from converter.conversion import convert
from converter.errors import SourceError
from converter.parity.comparing.inputs import inputs
from converter.parity.original import keras_child
from converter.parity.original.keras_child import DAMAGED, UNREAD
from converter.parity.original.oracle import KerasChild, Oracle, UnreadError, ask

keras = pytest.mark.keras


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (zipfile.BadZipFile("Bad CRC-32"), DAMAGED),
        (zlib.error("invalid block"), DAMAGED),
        (EOFError(), DAMAGED),
        (OSError("Unable to synchronously open file"), DAMAGED),
        (OSError(errno.EIO, "Input/output error"), DAMAGED),
        (OSError(errno.ENOSPC, "No space left on device"), UNREAD),
        (TypeError("Could not locate class"), None),
        (ValueError("A total of 3 objects could not be loaded"), None),
    ],
    ids=str,
)
def test_what_is_said_of_the_bytes_is_told_from_what_is_said_of_the_model(error, code):
    wrapped = RuntimeError("loading")
    wrapped.__cause__ = error

    found = [keras_child.unread(one) for one in (error, wrapped)]

    assert [one and one.code for one in found] == [code, code]


def test_no_other_oracle_is_asked(tmp_path, monkeypatch):
    asked = []

    def unread(child, oracle, *rest):
        asked.append(oracle.kind)
        raise UnreadError("OSError: No space left on device", is_damaged=False)

    monkeypatch.setattr("converter.parity.prove.is_installed", lambda: True)
    monkeypatch.setattr("converter.parity.prove.ask", unread)

    report = convert(fixture("keras-2.2.4-tensorflow"), tmp_path / "out.pth")

    assert asked == ["load"]
    assert report.verdict == "not compared"
    assert "No space left on device" in report.parity.reason


@keras
def test_a_file_that_keras_finds_damaged_is_code_3(tmp_path):
    """Our own reader compares the checksum too: here it has read another file."""
    source = FIXTURES / "keras-3.15-nested-head.keras"
    content = bytearray(source.read_bytes())
    with zipfile.ZipFile(source) as file:
        info = file.getinfo("config.json")
    content[info.header_offset + 30 + len("config.json") + 40] ^= 1
    damaged = tmp_path / "damaged.keras"
    damaged.write_bytes(content)

    with opened(source) as (checkpoint, network), KerasChild() as child:
        checkpoint = replace(checkpoint, path=damaged)
        with pytest.raises(SourceError, match="Keras cannot read it") as error:
            ask(child, Oracle("load", ""), checkpoint, network, inputs(network.architecture, None))

    assert error.value.exit_code == 3
    assert "BadZipFile" in str(error.value)
