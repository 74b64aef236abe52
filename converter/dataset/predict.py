"""Who predicts: the converted network, and, for the original, its own Keras or its record."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, cast

import numpy as np

from converter.dataset.pictures import Batch
from converter.dataset.results import Kind, Predictions
from converter.errors import ParityError, SourceError, UsageError
from converter.files.checkpoint import Array
from converter.parity.original.recording import Recording
from converter.parity.prove import OLD_VARIANCE

if TYPE_CHECKING:
    from converter.files.checkpoint import Checkpoint
    from converter.network import Network

Predict = Callable[[Batch], Array]
"""A batch of pictures (N, H, W, C) → predictions (N, classes)."""


def converted(model: Any, device: str, of: Kind) -> Callable[[Batch], Predictions]:
    """The predictions of a network with one output: its logits in float32 (no TF32), or
    what its original made of them last (softmax …) where the original gives no logits."""
    import torch

    from converter.parity.comparing import torch_run
    from converter.parity.comparing.rounding import watched_sums
    from resnet_pt.layers import activation

    outputs = model.program.outputs
    if len(outputs) != 1:
        raise UsageError(f"the network has {len(outputs)} outputs: only one can be compared")
    last = activation(outputs[0].activation) if of == "output" else torch.nn.Identity()
    model = model.to(device)

    def predict(batch: Batch) -> Predictions:
        x = torch.from_numpy(np.ascontiguousarray(batch.pictures.transpose(0, 3, 1, 2)))
        with torch.inference_mode(), torch_run.arithmetic(), watched_sums(model) as sums:
            logits = model(x.to(device))
            return Predictions(last(logits).cpu().numpy(), sums(logits).terms)

    return predict


def recorded(recording: Recording, names: Sequence[str]) -> tuple[Kind, Predict]:
    """The predictions in a record that was made with `record_keras.py --images` of the same folder:
    its rows are the pictures in the order of their names.

    Raises SourceError for another number of pictures, and when predicting for a picture that is
    not, to the bit, what the record's network received.
    """
    one = recording.passes[0]
    if set(one.logits) != {""}:
        raise UsageError(f"the record has {len(one.logits)} outputs: only one can be compared")
    if one.logits[""].ndim != 2:
        raise UsageError("the record's output is a map: only classes can be compared")
    if len(one.input) != len(names):
        raise SourceError(
            f"the record has {len(one.input)} pictures and the folder {len(names)}",
            hints=["it has to be made with --images of the same folder"],
        )

    def predict(batch: Batch) -> Array:
        rows = list(batch.indexes)
        theirs = one.input[rows]
        if theirs.shape != batch.pictures.shape:
            raise SourceError(
                f"the record's pictures are {theirs.shape[1:]}, these {batch.pictures.shape[1:]}"
            )
        for index, ours, recorded_one in zip(rows, batch.pictures, theirs, strict=True):
            if not np.array_equal(ours, recorded_one):
                apart = np.abs(ours - recorded_one).max()
                raise SourceError(
                    f"{names[index]} is not the picture that the record's network received: "
                    f"they differ by up to {apart:g}",
                    hints=["another folder, other preprocessing, or another version of Pillow"],
                )
        return one.logits[""][rows]

    return ("logits" if recording.meta["kind"] == "logits" else "output"), predict


def own_keras(
    python: Path | str, recorder: Path, model: Path, arguments: Sequence[str] = ()
) -> KerasProcess:
    """The original in the Keras that ran it: `python` is that Keras' interpreter, `recorder` the
    path of record_keras.py, `arguments` more options of that (--build …)."""
    worker = Path(__file__).with_name("keras_worker.py")
    return KerasProcess([str(python), str(worker), str(recorder), str(model), *arguments])


def bundled_keras(checkpoint: Checkpoint, network: Network) -> KerasProcess:
    """The Keras definition of the same network that is bundled here, with the weights of the file:
    for weights alone, where there is no code that builds their model."""
    if network.variance:
        raise UsageError(OLD_VARIANCE)
    if network.lifted:
        raise UsageError(
            "no definition of such a network is bundled here: its own Keras has to be asked",
            hints=[
                "--keras-python PATH, an interpreter with the Keras that made the file, or a "
                "record that was made with --images of the same folder"
            ],
        )
    job = {
        "source": str(checkpoint.path.resolve()),
        "architecture": network.architecture.to_dict(),
        "layers": dict(network.residual.layers),
        "layout": {"order": network.layout.order, "flipped": network.layout.flipped},
        "given": asdict(checkpoint.given) if checkpoint.given else None,
        "match": checkpoint.match,
    }
    return KerasProcess([sys.executable, "-m", "converter.dataset.bundled_worker"], job)


class KerasProcess:
    """A Keras in a process of its own, that predicts.

    A context: the process lives as long as it. `of` says what it gives. It computes on the CPU, in
    float32. Raises UsageError if the command cannot be run; ParityError, with the last that Keras
    said, when it fails.
    """

    def __init__(self, command: Sequence[str], job: Mapping[str, Any] | None = None) -> None:
        self.errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3"}
        try:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self.errors,
                env=environment,
            )
        except OSError as error:
            self.errors.close()
            raise UsageError(f"{command[0]} cannot be run: {error.strerror or error}") from error
        if job:
            self._send(json.dumps(job).encode() + b"\n")
        self.about = self._header()
        self.of: Kind = cast(Kind, self.about["of"])

    def _send(self, message: bytes) -> None:
        assert self.process.stdin
        try:
            self.process.stdin.write(message)
            self.process.stdin.flush()
        except BrokenPipeError:
            raise self._failed() from None

    def __call__(self, batch: Batch) -> Array:
        pictures = np.ascontiguousarray(batch.pictures, dtype="<f4")
        self._send(json.dumps({"shape": pictures.shape}).encode() + b"\n" + pictures.tobytes())
        shape = self._header()["shape"]
        assert self.process.stdout
        size = 8 * int(np.prod(shape))
        content = self.process.stdout.read(size)
        if len(content) != size:
            raise self._failed()
        return np.frombuffer(content, dtype="<f8").reshape(shape)

    def _header(self) -> dict[str, Any]:
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            raise self._failed()
        try:
            header: dict[str, Any] = dict(json.loads(line))
        except (ValueError, TypeError):  # a wrapper around the interpreter that prints
            said = line[:80].decode("utf-8", "replace").strip()
            raise self._failed(f"{said!r} on its standard output is no answer") from None
        if "error" in header:
            raise self._failed(header["error"])
        return header

    def _failed(self, why: str = "") -> ParityError:
        self.close()
        with self.errors:
            self.errors.seek(0)
            said = self.errors.read().decode("utf-8", "replace").splitlines()
        why = why or f"its process ended with {self.process.returncode}"
        return ParityError(f"Keras could not run the original: {why}", said[-5:])

    def close(self) -> None:
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe:
                with suppress(BrokenPipeError):
                    pipe.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def __enter__(self) -> KerasProcess:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
        self.errors.close()
