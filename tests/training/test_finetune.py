"""`scripts/finetune`: it learns, it goes on after a kill as if nothing had been, it refuses."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time

import pytest
import torch
from click.testing import CliRunner
from conftest import command, environment, finetune
from finetuning.data import batches, split
from finetuning.loop import Training
from finetuning.settings import Settings
from PIL import Image

import resnet_pt
from converter.cli import predict

QUICK = ("--epochs", 4, "--batch", 8, "--lr", 0.05, "--augment", "none")
OUTPUTS = ["best.pth", "confusion.png", "curves.png", "history.json", "last.ckpt", "split.json"]


def tensors(path):
    state = resnet_pt.load(path).state_dict()
    return {name: tensor for name, tensor in state.items() if name != "_extra_state"}


def same(one, other):
    one, other = tensors(one), tensors(other)
    return one.keys() == other.keys() and all(torch.equal(one[n], other[n]) for n in one)


def history(folder):
    """Everything but how long it took."""
    told = json.loads((folder / "history.json").read_text())
    return told["best"], [{**row, "seconds": 0} for row in told["epochs"]]


def ended(folder):
    """The tensors of the last epoch, and the optimiser's."""
    state = torch.load(folder / "last.ckpt", weights_only=False)
    model = {n: t for n, t in state["model"].items() if n != "_extra_state"}
    momenta = {n: s["momentum_buffer"] for n, s in state["optimizer"]["state"].items()}
    return {**model, **momenta}


@pytest.fixture(scope="module")
def trained(start, pictures, tmp_path_factory):
    """What a training leaves, and what it said."""
    out = tmp_path_factory.mktemp("trained") / "out"
    options = ("--epochs", 12, "--patience", 12, "--batch", 8, "--lr", 0.05, "--augment", "flip")
    done = finetune(pictures, "--from", start, "--out", out, *options)
    assert done.returncode == 0, done.stderr
    return out, done


def test_it_leaves_everything_it_promises(trained):
    out, done = trained

    assert sorted(os.listdir(out)) == OUTPUTS
    assert done.stdout == ""
    assert "48 pictures train and 12 validate, of 2 classes" in done.stderr
    for name in ("curves.png", "confusion.png"):
        with Image.open(out / name) as chart:
            assert min(chart.size) > 300


def test_it_learns(trained):
    """Half of the pictures is what the larger class gives."""
    best, rows = history(trained[0])

    assert rows[best - 1]["accuracy"] >= 0.9
    assert rows[-1]["train_loss"] < rows[0]["train_loss"] / 3


def test_the_best_weights_describe_themselves(trained, pictures):
    out, _ = trained
    model = resnet_pt.load(out / "best.pth")
    shown = [str(out / "best.pth"), str(pictures / "lying"), "--top", "1", "--json"]
    found = json.loads(CliRunner().invoke(predict, shown).stdout)

    assert model.architecture.preprocessing == "tf"
    assert model.architecture.input_size == (24, 24)
    said = [one["outputs"]["fc"][0]["label"] for one in found["pictures"]]
    assert said.count("lying") >= 27


def test_batch_norm_is_as_keras_had_it(trained):
    norms = [m for m in resnet_pt.load(trained[0] / "best.pth").modules() if hasattr(m, "eps")]

    assert {(norm.eps, norm.momentum) for norm in norms} == {(1e-3, 0.01)}


# ---- going on


@pytest.mark.parametrize("workers", [0, 2])
def test_a_killed_training_goes_on_as_if_nothing_had_been(workers, start, pictures, tmp_path):
    """Bit for bit, with augmentation, in another process."""
    options = (pictures, "--from", start, "--epochs", 6, "--batch", 8, "--augment",
               "crop,flip,rotate,colour", "--workers", workers)  # fmt: skip
    whole = finetune(*options, "--out", tmp_path / "whole")
    assert whole.returncode == 0, whole.stderr
    killed_after(2, tmp_path / "killed", *options, "--out", tmp_path / "killed")
    before = len(history(tmp_path / "killed")[1])
    resumed = finetune(*options, "--out", tmp_path / "killed", "--resume")

    assert resumed.returncode == 0, resumed.stderr
    assert 2 <= before < 6
    assert history(tmp_path / "killed") == history(tmp_path / "whole")
    assert same(tmp_path / "killed" / "best.pth", tmp_path / "whole" / "best.pth")
    one, other = ended(tmp_path / "killed"), ended(tmp_path / "whole")
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def killed_after(epochs, folder, *arguments):
    """Start it and kill it, as a power cut would, in the epoch after these."""
    process = subprocess.Popen(
        command(*arguments), env=environment(), stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        while process.poll() is None:
            if (folder / "last.ckpt").exists() and len(history(folder)[1]) >= epochs:
                break
            time.sleep(0.01)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert process.returncode == -signal.SIGKILL, "it was done before it could be killed"


def test_another_seed_is_another_training(start, pictures, tmp_path):
    for seed in (0, 1):
        finetune(pictures, "--from", start, *QUICK, "--seed", seed, "--out", tmp_path / str(seed))

    assert not same(tmp_path / "0" / "best.pth", tmp_path / "1" / "best.pth")


def test_other_options_are_not_gone_on_with(trained, start, pictures):
    out, _ = trained
    done = finetune(pictures, "--from", start, "--out", out, "--resume", "--lr", 0.02)

    assert done.returncode == 2
    assert "lr: 0.05 then, 0.02 now" in done.stderr


def test_what_is_not_gone_on_with_keeps_its_split(trained, start, pictures):
    out, _ = trained
    before = (out / "split.json").read_bytes()
    done = finetune(pictures, "--from", start, "--out", out, "--resume", "--seed", 1)

    assert "seed: 0 then, 1 now" in done.stderr
    assert (out / "split.json").read_bytes() == before


def test_an_older_training_stays_unless_it_may_go(trained, start, pictures):
    out, _ = trained
    done = finetune(pictures, "--from", start, "--out", out)

    assert done.returncode == 7
    assert "holds a training already" in done.stderr
    assert "--resume goes on with it" in done.stderr


def test_what_cannot_be_resumed_is_said(start, pictures, tmp_path):
    done = finetune(pictures, "--from", start, "--out", tmp_path / "none", "--resume")

    assert done.returncode == 7
    assert "no last.ckpt to resume from" in done.stderr
    assert not (tmp_path / "none").exists()


def test_a_place_that_cannot_be_written_is_said_before_a_picture_is_read(start, pictures, tmp_path):
    (tmp_path / "file").touch()
    done = finetune(pictures, "--from", start, "--out", tmp_path / "file" / "out")

    assert done.returncode == 7
    assert done.stderr == f"Error: {tmp_path / 'file' / 'out'} cannot be written: Not a directory\n"


# ---- how it trains


def test_it_stops_when_nothing_improves(start, pictures, tmp_path):
    done = finetune(pictures, "--from", start, "--out", tmp_path, "--epochs", 50, "--patience", 2,
                    "--lr", 0, "--augment", "none", "--freeze", "layer2")  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert len(history(tmp_path)[1]) == 3


def test_what_is_frozen_stays(start, pictures, tmp_path):
    done = finetune(pictures, "--from", start, *QUICK, "--freeze", "layer1", "--out", tmp_path)
    before, after = tensors(start), tensors(tmp_path / "best.pth")

    assert done.returncode == 0, done.stderr
    moved = [n for n in after if not n.startswith("fc.") and not torch.equal(before[n], after[n])]
    assert {name.split(".")[0] for name in moved} == {"layer2"}


def test_mixed_precision_keeps_float32_weights(start, pictures, tmp_path):
    done = finetune(pictures, "--from", start, *QUICK, "--precision", "bf16", "--out", tmp_path)

    assert done.returncode == 0, done.stderr
    assert {t.dtype for t in tensors(tmp_path / "best.pth").values()} == {
        torch.float32,
        torch.int64,
    }


def test_two_processes_count_every_picture_once(start, pictures, tmp_path):
    done = finetune(pictures, "--from", start, *QUICK, "--devices", 2, "--device", "cpu",
                    "--out", tmp_path)  # fmt: skip

    assert done.returncode == 0, done.stderr
    confusion = torch.load(tmp_path / "last.ckpt", weights_only=False)["confusion"]
    assert sum(map(sum, confusion)) == 12
    assert done.stderr.count("epoch   1") == 1


# ---- refusals


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        (lambda folder: shutil.rmtree(folder / "lying"), 3, "holds one class, standing"),
        (lambda folder: (folder / "lying" / "00.png").write_bytes(b"no"), 3, "lying/00.png: "),
        (
            lambda folder: [shutil.rmtree(one) for one in folder.iterdir()],
            3,
            "a folder of pictures",
        ),
    ],
    ids=["one class", "no picture", "no classes"],
)
def test_refusals_of_a_folder(change, code, message, start, pictures, tmp_path):
    folder = tmp_path / "pictures"
    shutil.copytree(pictures, folder)
    change(folder)
    done = finetune(folder, "--from", start, *QUICK, "--out", tmp_path / "out")

    assert done.returncode == code, done.stderr
    assert message in done.stderr


def test_a_refusal_ends_all_processes(start, pictures, tmp_path):
    shutil.copytree(pictures, tmp_path / "pictures")
    (tmp_path / "pictures" / "lying" / "00.png").write_bytes(b"no")
    done = finetune(tmp_path / "pictures", "--from", start, *QUICK, "--devices", 2,
                    "--device", "cpu", "--out", tmp_path / "out")  # fmt: skip

    assert done.returncode == 3
    assert "lying/00.png: " in done.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--freeze", "layer7"), "--freeze: there is no 'layer7'"),
        (("--augment", "crop,magic"), "--augment magic: known are crop"),
        (("--resume", "--force"), "one of them"),
        (("--size", 0), "at least 1"),
    ],
)
def test_refusals_of_options(options, message, start, pictures, tmp_path):
    done = finetune(pictures, "--from", start, *options, "--out", tmp_path / "out")

    assert done.returncode == 2
    assert message in done.stderr


# ---- the split and the batches


def test_the_split_depends_on_the_seed_alone_and_shares_every_class(pictures):
    one, again, other = split(pictures, 0.2, 0), split(pictures, 0.2, 0), split(pictures, 0.2, 1)

    assert one == again
    assert one.validation != other.validation
    assert not set(one.train) & set(one.validation)
    assert len(one.train) + len(one.validation) == 60
    assert [label for _, label in one.validation] == [0] * 6 + [1] * 6


def test_a_split_that_is_there_is_used(pictures, tmp_path):
    for part in ("train", "val"):
        shutil.copytree(pictures, tmp_path / part)
    found = split(tmp_path, 0.2, 0)

    assert {path.parts[-3] for path, _ in found.train} == {"train"}
    assert len(found.train) == len(found.validation) == 60


def test_pictures_of_every_kind_that_predict_reads_are_trained_on(pictures, tmp_path):
    shutil.copytree(pictures, tmp_path, dirs_exist_ok=True)
    for name in ("lying/a.GIF", "lying/b.jp2", "lying/old_model.h5", "lying/notes.txt"):
        (tmp_path / name).touch()
    found = split(tmp_path, 0.2, 0)

    others = {path.name for path, _ in found.train + found.validation if path.suffix != ".png"}
    assert others == {"a.GIF", "b.jp2"}


@pytest.mark.parametrize("world", [1, 2, 3])
def test_an_epoch_has_every_picture_once(world):
    found = [
        index
        for rank in range(world)
        for batch in batches(60, 7, 0, 3, rank, world)
        for index in batch
    ]

    assert sorted(found) == list(range(60))


def test_epochs_have_different_orders_and_no_batch_of_one():
    first, second = list(batches(9, 4, 0, 0)), list(batches(9, 4, 0, 1))

    assert first != second
    assert [len(batch) for batch in first] == [4, 4]


def test_better_is_more_right_or_as_right_with_less_loss():
    stands = Training([{"accuracy": 0.5, "loss": 1.0}], best=0)

    assert stands.is_better({"accuracy": 0.6, "loss": 2.0})
    assert stands.is_better({"accuracy": 0.5, "loss": 0.9})
    assert not stands.is_better({"accuracy": 0.5, "loss": 1.0})
    assert not Training().is_over(Settings(data=None, start=None))
