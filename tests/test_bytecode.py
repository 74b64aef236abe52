"""The bytecode of Lambda layers: what each Python's says, and what no bytes do to the reader."""

from __future__ import annotations

import base64
import random
import struct
import time
from contextlib import suppress

import pytest
from helpers_of_code import PYTHONS, dumped

from converter.files.bytecode import CodeError, read_function
from converter.files.bytecode.expressions import as_text

READ = {
    "closure": "x * scale",
    "conditional": "x if K.ndim(x) else (-x)",
    "deep": "tf.keras.backend.expand_dims(tf.nn.relu6(x), -1)",
    "difference": "K.abs(t[0] - t[1])",
    "euclidean": (
        "K.sqrt(K.maximum("
        "K.sum(K.square(vects[0] - vects[1]), axis=1, keepdims=True), K.epsilon()))"
    ),
    "first": "x[:2]",
    "floor": "x // 2",
    "from_one": "1 - x",
    "halves": "x[:, :4]",
    "identity": "x",
    "imported": "tensorflow.nn.depth_to_space(t, 2)",
    "imported_from": "keras.backend.l2_normalize(t, axis=-1)",
    "imported_within": "keras.backend.abs(t)",
    "in_place": "(x / 127.5) - 1.0",
    "joined": "K.concatenate([x[0], x[1]], axis=-1)",
    "large": "(x * 12345678901) + 1e-07",
    "listed": "x - [103.939, 116.779, 123.68, 1.0]",
    "mean": "K.mean(t, axis=3, keepdims=True)",
    "method": "x.get_shape()",
    "negative": "-x",
    "new_axis": "x[:, None]",
    "normed": "(x - mean) / std",
    "part": "x[:, 1:-1, ::2, :]",
    "resized": "tf.image.resize(x, (24, 24), method='bilinear')",
    "residual": "inputs[0] + (inputs[1] * scale)",
    "reversed": "x[..., ::-1]",
    "scaled": "x / 255.0",
    "shuffle": (
        "tensorflow.nn.depth_to_space(t, r) if hasattr(tensorflow.nn, 'depth_to_space') "
        "else tensorflow.depth_to_space(t, r)"
    ),
    "scaled_and_shifted": "(x / 127.5) - 1.0",
    "several_axes": "K.sum(x, axis=[1, 2])",
    "squared": "x ** 2",
    "swish": "x * K.sigmoid(x)",
    "two_closures": "K.clip(x, low, high)",
}
"""What the functions of `scripts/make_bytecode.py` compute, as they were written there."""

NOT_READ = {
    "a function within": "straight code",
    "any_number": "takes any number of arguments",
    "branches": "straight code",
    "complex": "not plain",
    "doubled_without_end": "more than 400 parts",
    "loops": "straight code",
}

every_python = pytest.mark.parametrize("python", PYTHONS)


@every_python
@pytest.mark.parametrize("name", READ)
def test_code_says_the_same_in_every_python(name, python):
    assert as_text(read_function(dumped(name, python)[0]).result) == READ[name]


@every_python
@pytest.mark.parametrize("name", NOT_READ)
def test_code_that_is_not_straight_is_refused_with_the_reason(name, python):
    with pytest.raises(CodeError, match=NOT_READ[name]):
        read_function(dumped(name, python)[0])


def test_arguments_and_what_is_from_around_are_told():
    read = read_function(dumped("two_closures")[0])

    assert read.parameters == ("x",)
    assert read.free == ("high", "low")
    assert read_function(dumped("normed")[0]).parameters == ("x", "mean", "std")


def test_the_characters_that_keras_before_2_0_9_wrote_are_read():
    data = base64.b64decode(dumped("difference", "2.7")[0])

    assert read_function(data.decode("raw_unicode_escape")) == read_function(
        dumped("difference", "2.7")[0]
    )


def test_what_two_pythons_read_in_two_ways_is_refused(monkeypatch):
    """Made so: no such code is known, since caches and numbers tell the versions apart."""
    from converter.files.bytecode import function as module

    other = tuple(
        one
        if one.version != "3.7"
        else module.Python("3.7", "3.4", {**one.opcodes, "BINARY_MULTIPLY": 23, "BINARY_ADD": 20})
        for one in module.PYTHONS
    )
    monkeypatch.setattr(module, "PYTHONS", other)

    with pytest.raises(CodeError, match="different functions"):
        read_function(dumped("residual", "3.6")[0])


@every_python
def test_no_damage_ends_in_anything_but_a_refusal(python):
    """Bytes changed, cut out and repeated: another function, or a CodeError; never long."""
    chance = random.Random(7)
    began = time.perf_counter()
    for name in ("euclidean", "resized", "listed", "two_closures"):
        data = base64.b64decode(dumped(name, python)[0])
        for _ in range(150):
            changed = bytearray(data)
            for _ in range(chance.choice((1, 1, 2, 8))):
                place = chance.randrange(len(changed))
                piece = bytes(chance.randrange(256) for _ in range(chance.choice((0, 1, 4))))
                changed[place : place + chance.choice((0, 1, 4))] = piece
            attempt(bytes(changed))
        for length in range(0, len(data), 7):
            attempt(data[:length])
    assert time.perf_counter() - began < 30


def attempt(data: bytes) -> None:
    with suppress(CodeError):
        as_text(read_function(base64.b64encode(data).decode()).result)


def code_of(constants: bytes, instructions: bytes = b"d\x00S\x00") -> bytes:
    """A code object of Python 3.8 without arguments that gives its first constant."""
    head = b"c" + struct.pack("<6i", 0, 0, 0, 0, 1, 0x43)
    code = b"s" + struct.pack("<i", len(instructions)) + instructions
    return (
        head + code + constants + b")\x00" * 4 + b"z\x00z\x00" + struct.pack("<i", 1) + b"s\0\0\0\0"
    )


@pytest.mark.parametrize(
    ("constants", "words"),
    [
        (b"(\xff\xff\xff\x7f", "ends early"),
        (b"s\xff\xff\xff\x7f", "ends early"),
        (b"s\xff\xff\xff\xff", "ends early"),
        (b")\x01l\xff\xff\xff\x7f", "whole number of 2147483647 digits"),
        (b")\x01" * 3000 + b"N", "nested too deeply"),
        (b")\x01r\x07\x00\x00\x00", "refers to what is not there"),
        (b"\xa9\x01r\x00\x00\x00\x00", "refers to what is not there"),
        (b")\x01?", "of the kind"),
    ],
)
def test_what_is_stated_is_held_against_what_is_there(constants, words):
    with pytest.raises(CodeError, match=words):
        read_function(base64.b64encode(code_of(constants)).decode())


def test_constants_that_repeat_each_other_do_not_grow():
    """Each tuple holds the one before twice: 2^60 of them, in 600 bytes."""
    one = b"\xa9\x00"
    for number in range(60):
        reference = b"r" + struct.pack("<i", number)
        one = one + b"\xa9\x02" + reference * 2
    items = b")" + bytes([61]) + one
    picked = code_of(items, b"d\x3cS\x00")

    with pytest.raises(CodeError, match="not plain"):
        read_function(base64.b64encode(picked).decode())


@pytest.mark.parametrize("text", [None, 7, ["x"], "x" * 70_000, "", "é€", "\ud800"])
def test_what_is_no_code_is_refused(text):
    with pytest.raises(CodeError):
        read_function(text)


def test_a_python_that_is_not_known_is_refused():
    """3.14's code begins with another number than 3.13's."""
    data = base64.b64decode(dumped("scaled", "3.13")[0])

    with pytest.raises(CodeError, match="its instruction 128 is"):
        read_function(base64.b64encode(data.replace(b"\x95\x00", b"\x80\x00", 1)).decode())
