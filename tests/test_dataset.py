"""A whole data set: the same figures however it is run, and differences that are seen."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from click.testing import CliRunner
from edits import edited
from helpers import FIXTURES, fixture, record
from PIL import Image

import resnet_pt
from converter.cli import verify_weights
from converter.conversion import convert
from converter.dataset.compare import compare_dataset
from converter.dataset.pictures import Batch, Batches, find_pictures, load_picture
from converter.dataset.predict import KerasProcess, converted, own_keras, recorded
from converter.dataset.results import Predictions, compare_predictions, first_five, summarise
from converter.dataset.run import Original
from converter.dataset.spread import device
from converter.dataset.state import Done, State, whole_lines
from converter.errors import ParityError, SourceError, UsageError
from converter.options import Options
from converter.parity.original.recording import read_record
from converter.report import finite
from converter.reports import html, schema
from converter.verification import verify_images

ROOT = FIXTURES.parent
PATH = fixture("keras-2.2.4-tensorflow")
SIZE = (32, 32)
CLASSES = 10


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An ImageFolder of 23 pictures of several sizes and kinds, and one that is none."""
    found = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(3)
    for k in range(23):
        place = found / ("cat" if k % 2 else "dog")
        place.mkdir(exist_ok=True)
        pixels = random.integers(0, 256, (20 + k, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(place / f"{k:03}.{'png' if k % 3 else 'bmp'}")
    (found / "dog" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    (found / "notes.txt").write_text("no picture")
    return found


@pytest.fixture(scope="module")
def target(tmp_path_factory):
    path = tmp_path_factory.mktemp("target") / "out.pth"
    convert(PATH, path, parity=False)
    return path


def as_it_is(pictures):
    return pictures


def by_colour(batch):
    """Predictions that depend on the picture alone."""
    weights = np.random.default_rng(0).normal(size=(3, CLASSES))
    return batch.pictures.mean((1, 2)).astype(np.float64) @ weights


def a_little_off(batch):
    return by_colour(batch) * (1 + 1e-7)


def compared(folder, original=by_colour, converted=a_little_off, **options):
    settings = {"size": SIZE, "transform": as_it_is, "identity": {}, "batch_size": 4, **options}
    names = settings.pop("names", None) or find_pictures(folder)
    return compare_dataset(
        folder, names, original, lambda batch: Predictions(converted(batch)), **settings
    )


# ---- pictures, as Keras loads them


def test_pictures_of_all_folders_are_found_in_order_and_nothing_else(folder):
    (folder / ".hidden.png").write_bytes(b"")
    names = find_pictures(folder)

    assert len(names) == 24
    assert list(names) == sorted(names)
    assert names[0] == "cat/001.png"
    assert "dog/broken.png" in names


@pytest.mark.parametrize(("made", "error"), [(True, SourceError), (False, UsageError)])
def test_a_folder_without_pictures_and_no_folder_are_refused(made, error, tmp_path):
    if made:
        (tmp_path / "images").mkdir()

    with pytest.raises(error, match="images"):
        find_pictures(tmp_path / "images")


def test_a_picture_is_resized_by_the_nearest_pixel(tmp_path):
    """Two by two pixels become four by four: no colour that was not there."""
    pixels = np.array([[[0, 10, 20], [255, 1, 2]], [[7, 8, 9], [100, 200, 50]]], np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")

    found = load_picture(tmp_path / "a.png", (4, 6), 3)

    assert found.dtype == np.float32
    assert np.array_equal(found, pixels.repeat(2, axis=0).repeat(3, axis=1))


LOAD_IMG = """
import sys
import keras
import numpy as np

found = [keras.utils.load_img(path, target_size=(24, 31)) for path in sys.argv[2:]]
np.save(sys.argv[1], np.stack([keras.utils.img_to_array(picture) for picture in found]))
"""


@pytest.mark.slow
@pytest.mark.keras
def test_pictures_are_those_of_keras(folder, tmp_path):
    names = [name for name in find_pictures(folder) if "broken" not in name]
    paths = [folder / name for name in names]
    photo = tmp_path / "photo.jpg"
    Image.effect_noise((60, 50), 90).convert("RGB").save(photo)
    paths.append(photo)
    saved = tmp_path / "keras.npy"
    subprocess.run(
        [sys.executable, "-c", LOAD_IMG, str(saved), *map(str, paths)], check=True, timeout=300
    )

    ours = np.stack([load_picture(path, (24, 31), 3) for path in paths])

    assert np.array_equal(ours, np.load(saved))


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK", "1"])
def test_a_picture_of_another_kind_becomes_rgb_as_pillow_does_it(mode, tmp_path):
    original = Image.effect_noise((9, 7), 80).convert("RGB").convert(mode)
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    original.save(path)

    found = load_picture(path, (7, 9), 3)

    assert np.array_equal(found, np.asarray(Image.open(path).convert("RGB"), np.float32))


def test_a_network_of_one_channel_gets_grey(tmp_path):
    Image.effect_noise((9, 7), 80).save(tmp_path / "a.png")

    deep = np.full((7, 9), 40_000, np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    Image.new("RGB", (9, 7), (10, 20, 30)).save(tmp_path / "colour.png")

    assert load_picture(tmp_path / "a.png", (7, 9), 1).shape == (7, 9, 1)
    assert (load_picture(tmp_path / "deep.png", (7, 9), 1) == 40_000).all()
    assert (load_picture(tmp_path / "colour.png", (7, 9), 1) == 18).all()


def test_a_picture_that_would_fill_the_memory_is_not_read(tmp_path, monkeypatch):
    Image.new("RGB", (40, 40)).save(tmp_path / "a.png")
    monkeypatch.setattr("resnet_pt.pictures.MAX_PIXELS", 1000)

    with pytest.raises(OSError, match="1,600 pixels, over the limit of 1,000"):
        load_picture(tmp_path / "a.png", (4, 4), 3)


def test_every_picture_is_in_one_batch(folder):
    names = find_pictures(folder)
    batches = Batches(folder, names, 5, SIZE, 3, as_it_is)

    indexes = [index for k in range(len(batches)) for index in batches.indexes(k)]
    assert indexes == list(range(24))
    unreadable = {k: why for number in range(5) for k, why in batches[number].unreadable.items()}
    assert [names[k] for k in unreadable] == ["dog/broken.png"]
    assert set(unreadable.values()) == {"no picture of a kind that is known here"}


def test_the_transform_is_what_the_network_receives(folder):
    plain = Batches(folder, find_pictures(folder), 4, SIZE, 3, as_it_is)[0]
    scaled = Batches(folder, find_pictures(folder), 4, SIZE, 3, lambda x: x / 127.5 - 1)[0]

    assert np.array_equal(scaled.pictures, plain.pictures / np.float32(127.5) - np.float32(1))
    with pytest.raises(UsageError, match="transform makes"):
        Batches(folder, find_pictures(folder), 4, SIZE, 3, lambda x: x[..., :1])[0]


# ---- figures


def test_agreement_and_drift_are_counted():
    expected = np.array([[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0]] * 3)
    actual = expected.copy()
    actual[1] += [0, 0, 0, 0, 0, 0.5, 0]  # the same order
    actual[2] += [7, 0, 0, 0, 0, 0, 0]  # another first class, another five

    found = summarise(
        "logits", ("a", "b", "c"), compare_predictions((0, 1, 2), Predictions(actual), expected), {}
    )

    assert (found.pictures, found.same_top1, found.same_top5) == (3, 2, 2)
    assert found.max_difference == 7
    assert found.max_relative == 7 / 6
    assert found.mean_difference == pytest.approx((0 + 0.5 / 7 + 1) / 3)
    assert [one.name for one in found.worst] == ["c", "b", "a"]
    assert (found.worst[0].expected, found.worst[0].actual) == (6, 0)
    assert not found.passes


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("both", [False, True])
def test_what_is_not_finite_is_never_the_same(value, both):
    expected = np.arange(7.0)[None]
    actual = expected.copy()
    actual[0, 3] = value
    if both:
        expected = actual.copy()

    (one,) = compare_predictions((0,), Predictions(actual), expected)

    assert one.difference == np.inf
    assert not one.same_top1
    assert not one.same_top5


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_original_that_is_not_finite_for_one_picture_is_not_passed_over(value):
    """Behind one that is right: NaN is neither more nor less than its error."""
    actual = np.arange(7.0)[None].repeat(2, 0)
    expected = actual.copy()
    expected[1, 3] = value

    found = summarise(
        "logits", ["a", "b"], compare_predictions((0, 1), Predictions(actual), expected), {}
    )

    assert found.max_relative == np.inf
    assert not found.passes


def test_equal_logits_have_an_order_too():
    assert first_five(np.array([1.0, 3.0, 3.0, 0.0, 3.0, 2.0])) == [1, 2, 4, 5, 0]


def test_a_difference_within_the_gate_passes_and_one_beyond_does_not(folder):
    assert compared(folder).passes
    assert not compared(folder, converted=lambda batch: by_colour(batch) * (1 + 1e-4)).passes


def test_one_wrong_picture_is_found_and_named(folder):
    names = find_pictures(folder)

    def one_wrong(batch):
        found = by_colour(batch)
        for row, index in enumerate(batch.indexes):
            if names[index] == "cat/013.png":
                found[row] = found[row][::-1]
        return found

    found = compared(folder, converted=one_wrong)

    assert found.worst[0].name == "cat/013.png"
    assert found.worst[1].difference == 0
    assert found.same_top1 == 22
    assert not found.passes


def test_pictures_that_cannot_be_read_are_told(folder):
    found = compared(folder)

    assert found.pictures == 23
    assert [one.name for one in found.unreadable] == ["dog/broken.png"]


def test_a_batch_of_nothing_readable_is_no_error(tmp_path):
    (tmp_path / "a.png").write_bytes(b"nothing")

    found = compared(tmp_path)

    assert (found.pictures, found.passes) == (0, False)


def test_predictions_of_other_classes_are_refused(folder):
    with pytest.raises(ParityError, match=r"predicts \(4, 9\) and the original \(4, 10\)"):
        compared(folder, converted=lambda batch: by_colour(batch)[:, :9])


# ---- the same figures however it is run


def test_processes_that_load_pictures_change_nothing(folder):
    assert compared(folder, workers=2) == compared(folder)


def test_a_run_goes_on_where_it_was(folder, tmp_path):
    seen = []

    def counted(batch):
        seen.append(batch.number)
        if len(seen) == 3:
            raise KeyboardInterrupt
        return by_colour(batch)

    with pytest.raises(KeyboardInterrupt):
        compared(folder, original=counted, state=tmp_path / "state")
    found = compared(folder, original=counted, state=tmp_path / "state")

    assert found == compared(folder)
    assert seen == [0, 1, 2, 2, 3, 4, 5]


def test_a_line_that_was_cut_off_is_done_again(folder, tmp_path):
    state = tmp_path / "state"
    whole = compared(folder, state=state)
    (path,) = state.iterdir()
    content = path.read_bytes()
    lines = content.splitlines(keepends=True)

    for cut in (len(content) - 1, len(content) - 40, len(b"".join(lines[:3])) + 1, 5):
        path.write_bytes(content[:cut])
        assert compared(folder, state=state) == whole
        kept = path.read_bytes()
        assert sorted(whole_lines(kept)) == sorted(lines)


def test_what_is_done_is_not_done_again(folder, tmp_path):
    whole = compared(folder, state=tmp_path / "state")

    def never(batch):
        raise AssertionError

    assert compared(folder, original=never, state=tmp_path / "state") == whole


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ({"batch_size": 5}, "batch_size: 4 there, 5 now"),
        ({"size": (16, 16)}, "size: [32, 32] there, [16, 16] now"),
        ({"of": "output"}, "of: logits there, output now"),
        ({"identity": {"target": "abc"}}, "target: None there, abc now"),
    ],
    ids=lambda value: value.split(":")[0] if isinstance(value, str) else "",
)
def test_the_state_of_another_run_is_refused(other, told, folder, tmp_path):
    compared(folder, state=tmp_path / "state")

    with pytest.raises(UsageError, match="holds the state of another run") as error:
        compared(folder, state=tmp_path / "state", **other)
    assert error.value.findings == (told,)


def test_the_state_of_other_pictures_is_refused(tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    compared(tmp_path, state=tmp_path / "state")
    Image.effect_noise((40, 40), 90).save(tmp_path / "a.png")

    with pytest.raises(UsageError, match="another run"):
        compared(tmp_path, state=tmp_path / "state")


def test_a_damaged_state_is_told(folder, tmp_path):
    compared(folder, state=tmp_path / "state")
    (path,) = (tmp_path / "state").iterdir()
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:2], b"damaged\n", *lines[2:]]))

    with pytest.raises(SourceError, match="is damaged"):
        compared(folder, state=tmp_path / "state")


def test_every_bit_of_a_figure_survives_the_state(tmp_path):
    run = {"run": 1}
    awkward = np.array([[0.1 + 0.2, 1e-320, 3.0], [np.inf, 1.0, 2.0]])
    done = Done(
        0, compare_predictions((0, 1), Predictions(awkward), np.ones((2, 3))), {5: "torn “page”"}
    )
    state = State(tmp_path, run, 0)
    state.add(done)
    state.close()

    assert State(tmp_path, run, 3).read() == {0: done}


# ---- the original: its record, or its Keras


def with_pictures(folder):
    """The record of the fixture's input, as a folder of pictures cannot give it: whole numbers
    from 0 to 255."""
    recording = read_record(record(PATH))
    names = find_pictures(folder)
    size = recording.passes[0].input.shape[1:3]
    pictures = np.stack([load_picture(folder / name, size, 3) for name in names[:2]])
    logits = {"": np.arange(20.0).reshape(2, 10)}
    return replace(recording, passes=(replace(recording.passes[0], input=pictures, logits=logits),))


def test_a_record_predicts_for_its_own_pictures_only(folder):
    recording, names = with_pictures(folder), find_pictures(folder)[:2]
    size = recording.passes[0].input.shape[1:3]
    of, predict = recorded(recording, names)

    assert of == "logits"
    same = Batches(folder, names, 2, size, 3, as_it_is)[0]
    assert np.array_equal(predict(same), recording.passes[0].logits[""])
    one_bit = Batches(folder, names, 2, size, 3, lambda x: np.nextafter(x, 999))[0]
    with pytest.raises(SourceError, match=r"cat/001\.png is not the picture"):
        predict(one_bit)
    with pytest.raises(SourceError, match="has 2 pictures and the folder 24"):
        recorded(recording, find_pictures(folder))


@pytest.mark.slow
def test_the_converted_network_predicts_its_logits_or_what_came_of_them(folder, target):
    import torch

    model = resnet_pt.load(target)
    batch = Batches(folder, find_pictures(folder)[:2], 2, SIZE, 3, as_it_is)[0]
    with torch.inference_mode():
        logits = model(torch.from_numpy(batch.pictures.transpose(0, 3, 1, 2).copy()))

    assert np.array_equal(converted(model, "cpu", "logits")(batch).values, logits.numpy())
    softmax = converted(model, "cpu", "output")(batch).values
    assert softmax.sum(1) == pytest.approx([1, 1])
    assert np.array_equal(softmax.argmax(1), logits.numpy().argmax(1))


WORKER = """
import numpy as np

class RecordError(Exception):
    pass

class options:
    keras = data_format = None

def parse(arguments):
    options.model = arguments[0]
    return options

def import_keras(name):
    print("Using nothing as a backend")  # on standard output, as Keras does
    return type("keras", (), {"__version__": "0.9"})

def backend_name(keras):
    return "nothing"

def load_model(keras, path, options):
    if "missing" in path:
        raise RecordError("no such model")
    return path

def data_format_of(keras, model):
    return "channels_first" if "first" in model else "channels_last"
"""
"""A stand-in for record_keras.py and Keras, so that the worker's protocol is tested without."""

ANSWER = """
def graph_of(model):
    return type("graph", (), {"inputs": [1], "outputs": [2]})

def as_list(value):
    return value if isinstance(value, list) else [value]

class Dense(object):
    pass

def maker(tensor, calls):
    return Dense(), None

def calls_of(graph):
    return []

def activation_name(layer):
    return "linear"

class Model(object):
    def predict_on_batch(self, batch):
        if batch.max() > 9000:
            raise ValueError("out of memory")
        print("0s/step")
        return np.stack([batch.sum((1, 2, 3)), [batch.shape[1]] * len(batch)], 1)

def new_model(keras, inputs, outputs):
    return Model()
"""


@pytest.fixture
def recorder(tmp_path):
    path = tmp_path / "record_keras.py"
    path.write_text(WORKER + ANSWER)
    return path


def batch_of(pictures):
    return Batch(0, tuple(range(len(pictures))), np.asarray(pictures, np.float32), {})


@pytest.mark.slow
def test_the_originals_process_answers_for_every_batch(recorder):
    pictures = np.random.default_rng(0).integers(0, 256, (3, 4, 5, 3)).astype(np.float32)
    with own_keras(sys.executable, recorder, Path("model.h5")) as original:
        assert original.of == "logits"
        assert original.about["keras"] == "0.9"
        for count in (3, 1, 2):
            found = original(batch_of(pictures[:count]))
            assert np.array_equal(found[:, 0], pictures[:count].sum((1, 2, 3)))
            assert (found[:, 1] == 4).all()  # channels last: the second axis is the height
    assert original.process.returncode == 0

    with own_keras(sys.executable, recorder, Path("first.h5")) as original:
        assert (original(batch_of(pictures))[:, 1] == 3).all()


@pytest.mark.slow
def test_what_ends_the_originals_process_is_told(recorder):
    with pytest.raises(ParityError, match="RecordError: no such model"):
        own_keras(sys.executable, recorder, Path("missing.h5"))
    with (
        own_keras(sys.executable, recorder, Path("model.h5")) as original,
        pytest.raises(ParityError, match="ValueError: out of memory"),
    ):
        original(batch_of(np.full((1, 2, 2, 3), 9999)))
    with (
        own_keras(sys.executable, recorder, Path("model.h5")) as original,
        pytest.raises(ParityError, match=f"its process ended with -{signal.SIGKILL}"),
    ):
        original.process.kill()
        original.process.wait()
        original(batch_of(np.zeros((1, 2, 2, 3))))


def test_an_interpreter_that_is_not_there_is_told(recorder):
    with pytest.raises(UsageError, match="/no/python cannot be run"):
        own_keras("/no/python", recorder, Path("model.h5"))


def test_a_device_that_is_not_there_is_told():
    assert device("cpu") == "cpu"
    missing = "mps" if sys.platform != "darwin" else "cuda"
    with pytest.raises(UsageError, match=f"--device {missing}: torch finds no such device"):
        device(missing)


@pytest.mark.parametrize(("rank", "expected"), [(None, "cuda:0"), (1, "cuda:1"), (5, "cuda:1")])
def test_every_process_of_a_machine_takes_its_own_gpu(rank, expected, monkeypatch):
    """Two GPUs, as torch would report them: none is used here."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    if rank is not None:
        monkeypatch.setenv("LOCAL_RANK", str(rank))

    assert device("auto") == expected


# ---- from the command line, in one process and in two


def environment():
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


TORCHRUN = [
    *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--no-python"),
    "--nproc-per-node",
]
VERIFY = [
    *(sys.executable, "-c"),
    "from converter.cli.programs import verify_weights; verify_weights()",
]


AS_THEY_ARE = ("--preprocess", "raw")


def arguments(folder, target, recording, report, *more):
    options = ("--size", "32x32", "--batch", 4, "--device", "cpu", "--report", report)
    found = (target, "--images", folder, "--against", recording, *options, *more)
    return [str(one) for one in found]


def figures(report):
    return json.loads(report.read_text())["dataset"]


@pytest.fixture(scope="module")
def recording(folder, target, tmp_path_factory):
    """What an original that is a little off computes for the folder, as its record."""
    names = find_pictures(folder)
    readable = [name for name in names if "broken" not in name]
    batch = Batches(folder, tuple(readable), 64, SIZE, 3, as_it_is)[0]
    logits = converted(resnet_pt.load(target), "cpu", "logits")(batch).values * (1 + 2e-7)
    logits[7] = logits[7][::-1]
    path = tmp_path_factory.mktemp("record") / "record.npz"
    inputs, rows = np.zeros((24, *SIZE, 3), np.float32), np.zeros((24, 10))
    places = [names.index(name) for name in readable]
    inputs[places], rows[places] = batch.pictures, logits
    np.savez(path, input=inputs, logits=rows, output=rows)
    return path


@pytest.fixture(scope="module")
def alone(folder, target, recording, tmp_path_factory):
    path = tmp_path_factory.mktemp("alone") / "found.json"
    given = arguments(folder, target, recording, path, *AS_THEY_ARE)
    result = CliRunner().invoke(verify_weights, given)
    return result, figures(path)


@pytest.mark.slow
def test_it_says_what_it_found(alone):
    """The record's logits are wrong, so that the proof fails as well: no figure is lost by that."""
    result, found = alone

    assert result.exit_code == 1
    assert "pictures  23 compared with a record" in result.stderr
    assert (found["pictures"], found["same_top1"]) == (23, 22)
    assert found["worst"][0]["name"] == find_pictures_name(7)
    assert found["worst"][1]["relative"] < 1e-6


def find_pictures_name(number):
    return [f"cat/{k:03}.{'png' if k % 3 else 'bmp'}" for k in range(1, 23, 2)][number]


@pytest.mark.slow
def test_two_processes_give_the_figures_of_one(alone, folder, target, recording, tmp_path):
    path, state = tmp_path / "found.json", tmp_path / "state"
    given = arguments(folder, target, recording, path, *AS_THEY_ARE, "--state", state)
    done = subprocess.run(
        [*TORCHRUN, "2", *VERIFY, *given],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=300,
    )

    assert done.returncode == 1, done.stderr
    assert figures(path) == alone[1]
    files = sorted(state.iterdir())
    assert [one.name for one in files] == ["process-0.jsonl", "process-1.jsonl"]
    batches = [
        [json.loads(line)["batch"] for line in one.read_text().splitlines()[1:]] for one in files
    ]
    assert batches == [[0, 2, 4], [1, 3, 5]]  # each its own, none twice
    assert done.stderr.count("pictures  23 compared") == 1

    # What two have done, one takes over, and the other way round.
    files[1].unlink()
    path.unlink()
    assert CliRunner().invoke(verify_weights, given).exit_code == 1
    assert figures(path) == alone[1]


SLOW = """
import os
import time

batches = 0

def slow(pictures):
    global batches
    batches += 1
    while batches > 3 and os.path.exists(os.environ["HOLD"]):
        time.sleep(0.05)
    return pictures
"""
"""A transform that does not come back from the fourth batch while there is a certain file."""


@pytest.mark.slow
def test_a_run_that_is_killed_goes_on_and_finds_the_same(
    alone, folder, target, recording, tmp_path
):
    (tmp_path / "slowly.py").write_text(SLOW)
    hold = tmp_path / "hold"
    hold.touch()
    path, state = tmp_path / "found.json", tmp_path / "state"
    more = ("--state", state, "--transform", "slowly:slow")
    command = [*VERIFY, *arguments(folder, target, recording, path, *more)]
    run = {
        "env": {**environment(), "HOLD": str(hold)},
        "cwd": tmp_path,  # where slowly.py is
        "stderr": subprocess.DEVNULL,
    }
    first = subprocess.Popen(command, **run)
    deadline = time.monotonic() + 300
    while lines(state) < 4 and time.monotonic() < deadline:
        time.sleep(0.05)
    first.kill()
    first.wait()
    assert lines(state) == 4
    assert not path.exists()

    hold.unlink()
    subprocess.run(command, timeout=300, **run)

    assert figures(path) == alone[1]
    assert lines(state) == 7


def lines(state: Path) -> int:
    return sum(path.read_bytes().count(b"\n") for path in state.glob("*.jsonl"))


def refused(*given):
    result = CliRunner().invoke(verify_weights, [str(one) for one in given])
    assert result.exit_code == 2
    return result.stderr


def test_a_mistake_is_a_message_and_a_code(target):
    said = refused(target, "--images", "none", "--against", PATH)

    assert said == "Error: --images none is not a folder\n"


def test_what_is_for_pictures_is_refused_without_any(target):
    said = refused(target, "--against", PATH, "--size", "32", "--batch", 4, "--workers", 0)

    assert said == "Error: --size, --batch, --workers: for --images, which is not given\n"


@pytest.mark.parametrize(
    ("reference", "why"),
    [
        ("no_such_file:scale", "No module named 'no_such_file'"),
        ("json:scale", "module 'json' has no attribute 'scale'"),
        ("json", "module 'json' has no attribute ''"),
    ],
)
def test_a_transform_that_is_not_there_is_told(reference, why, folder, target):
    said = refused(target, "--images", folder, "--against", PATH, "--transform", reference)

    assert f"--transform {reference} is no MODULE:FUNCTION here: " in said
    assert why in said


def test_a_transform_and_a_name_of_one_are_refused(folder, target):
    two = ("--transform", "numpy:negative", "--preprocess", "caffe")

    assert "give one" in refused(target, "--images", folder, "--against", PATH, *two)


@pytest.mark.slow
@pytest.mark.keras
@pytest.mark.parametrize(
    "python", [sys.executable, None], ids=["its own Keras", "the bundled definition"]
)
def test_the_original_in_keras_agrees_and_another_does_not(python, folder, target, tmp_path):
    other = edited(PATH, tmp_path, lambda file: replaced_bias(file["model_weights"]))

    same = verify_images(target, PATH, folder, batch=8, keras_python=python, device="cpu")
    different = verify_images(target, other, folder, batch=8, keras_python=python, device="cpu")

    assert (same.passes, same.same_top1, same.same_top5) == (True, 23, 23)
    assert different.pictures == 23
    assert not different.passes


def replaced_bias(weights):
    weights["fc1000/fc1000/bias:0"][3] += 1e-3


@pytest.mark.parametrize(
    "lost",
    [
        lambda done: {**done, "results": done["results"][:-1]},
        lambda done: {**done, "results": [], "unreadable": {}},
        lambda done: {**done, "results": [*done["results"], done["results"][0]]},
        lambda done: {**done, "batch": 99},
    ],
    ids=["a picture", "all", "one twice", "another batch"],
)
def test_a_state_that_does_not_hold_its_pictures_is_damaged(lost, folder, tmp_path):
    """They would be in no figure, and the others would pass."""
    compared(folder, state=tmp_path / "state")
    (path,) = (tmp_path / "state").iterdir()
    run, first, *more = path.read_bytes().splitlines(keepends=True)
    changed = json.dumps(lost(json.loads(first))).encode() + b"\n"
    path.write_bytes(b"".join([run, changed, *more]))

    with pytest.raises(SourceError, match="is damaged"):
        compared(folder, state=tmp_path / "state")


@pytest.mark.parametrize("word", ["activated", "5", "[1]"])
def test_an_interpreter_that_prints_first_is_told(word):
    """A wrapper that sets up its environment aloud."""
    command = [sys.executable, "-c", f"print({word!r})"]

    with pytest.raises(ParityError, match=f"'{re.escape(word)}' on its standard output"):
        KerasProcess(command)


def test_a_state_says_which_network_the_original_was():
    """Of weights alone an option or the code that builds it decides: another one is another run."""
    path, script = Path("a.h5"), Path("record_keras.py")
    originals = [
        Original(path, is_record=False),
        Original(path, is_record=False, options=Options(pool="same")),
        Original(path, is_record=False, options=Options(pool="same", bn_eps=1e-3)),
        Original(path, is_record=False, python="python", recorder=script),
        Original(path, is_record=False, python="python", recorder=script, build="a:b"),
        Original(path, is_record=False, python="python", recorder=script, build="a:c"),
    ]

    assert len({one.asked for one in originals}) == len(originals)


# ---- in a report


@pytest.mark.slow
def test_a_data_set_is_in_the_report_and_on_its_page(folder, tmp_path):
    report = convert(PATH, tmp_path / "out.pth", parity=False)

    data = finite(replace(report, dataset=compared(folder)).to_dict())

    jsonschema.Draft202012Validator(schema()).validate(data)
    page = html.render(data).decode()
    assert "23 compared with the original, 1 could not be read" in page
    assert "dog/broken.png" in page
    del data["dataset"]["same_top1"]
    assert not jsonschema.Draft202012Validator(schema()).is_valid(data)
