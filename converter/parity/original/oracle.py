"""Asking Keras: which oracle fits a file, and running it in a process of its own."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from converter.errors import SourceError
from converter.files.checkpoint import TRAINING_ALONE, Array, Checkpoint
from converter.files.kinds import SettingError
from converter.files.leftovers import WorkFolder
from converter.files.model_config import CODE, class_of, with_code
from converter.network import Network
from converter.parity.comparing.layers import compared
from converter.parity.original.keras_child import DAMAGED, KERAS_2, UNREAD
from converter.parity.original.recording import Pass, Recording, Sample
from converter.parity.original.sampling import call_name
from converter.whole_model.arithmetic import OPERATORS
from converter.whole_model.keras_classes import KERAS
from converter.whole_model.keras_layers.operators import KERAS_3, TENSORFLOW
from converter.whole_model.layer_classes import FURTHER_OPERATORS, OPS
from converter.whole_model.lift import liftings
from converter.whole_model.tensorflow_nodes import CLASS as NODE
from converter.whole_model.tensorflow_nodes import KINDS, operation
from resnet_pt.ops import Upsample
from resnet_pt.program import Layer

TIME_LIMIT = 900
"""Seconds that Keras gets; a ResNet-152 in float64 needs about 60."""

CUSTOM = frozenset({"Scale", "BatchNorm", "AtrousConvolution2D"})
"""Classes that graphs are read with, and that Keras does not have."""

MADE_WITH = frozenset(
    [
        *("Functional", "Model", "Sequential", "__keras_tensor__", "DTypePolicy", "Policy"),
        *("GlorotUniform", "GlorotNormal", "HeNormal", "HeUniform", "VarianceScaling"),
        *("RandomNormal", "RandomUniform", "TruncatedNormal", "Orthogonal"),
        *("Zeros", "Ones", "Constant", "L1", "L2", "L1L2"),
    ]
)
"""Models, initialisers and regularisers: what layers are made with."""

OPERATIONS = frozenset([*OPERATORS, "GetItem", "Stack", "__tensor__", "__numpy__", "__ellipsis__"])
"""Keras 3's operators on tensors, and how it writes their constants."""

LOADED = (frozenset({*OPS, *FURTHER_OPERATORS}) - CUSTOM) | MADE_WITH | OPERATIONS
"""Classes that Keras may make from a file's configuration; a file that names any other is not
given to Keras."""


OPERATORS_OF_KERAS_2 = frozenset(["TFOpLambda", "SlicingOpLambda"])
"""Operators on tensors, whose `function` has to be one that is understood."""

KERAS_2_MAJOR = 2


NO_CODE = (
    "the code of its Lambda layers ({}) is never run, by Keras neither: a record of the original "
    "proves it (scripts/record_keras.py, --against)"
)


def with_code_to_run(checkpoint: Checkpoint, network: Network) -> str:
    """Why Keras is not given a model whose layers run code that is in the file; '' for others."""
    config = network.cut or (checkpoint.given.config if checkpoint.given else checkpoint.config)
    names = with_code(config) if config else []
    listed = ", ".join(map(repr, names[:3])) + ", …" * (len(names) > 3)
    return NO_CODE.format(listed) if names else ""


def loaded_generally() -> frozenset[str]:
    """Classes that Keras may make from a general network's configuration: its own that are
    understood, so that none which reads a file or runs code comes with them, as an initialiser for
    one."""
    return (LOADED | (KERAS & liftings().keys()) | KERAS_3.keys()) - set(CODE)


NO_CORNERS = "no Keras that runs today has the bilinear of Keras up to 2.3.1"

BUNDLED = "the bundled Keras definition"


KERAS_3_LIBRARY = "keras"

KERAS_CHILD = (sys.executable, "-m", "converter.parity.original.keras_child")


class OracleError(Exception):
    """Keras could not do the job; the text says why."""


class UnreadError(OracleError):
    """Keras could not read the file; `is_damaged` if it is the file's fault. That is no reason to
    ask another oracle, which is given what our own reader read."""

    def __init__(self, reason: str, is_damaged: bool) -> None:
        super().__init__(reason)
        self.is_damaged = is_damaged


@dataclass(frozen=True, slots=True)
class Oracle:
    """How to ask: 'load' (Keras loads the whole model) or 'build' (the bundled definition), and
    which `library`, by its name in Python."""

    kind: str
    reason: str
    library: str = KERAS_3_LIBRARY

    @property
    def is_original(self) -> bool:
        """Whether the answer is the original's own. The bundled definition is built from the very
        reading of the file that is to be proven: it cannot contradict it."""
        return self.kind == "load"

    @property
    def fixed_size(self) -> bool:
        return self.kind == "load"


def is_installed() -> bool:
    """Whether Keras and TensorFlow are there (found, not imported)."""
    return all(importlib.util.find_spec(name) for name in ("keras", "tensorflow"))


def has_keras_2() -> bool:
    """Whether tf-keras is there: Keras 2's own code, on today's TensorFlow."""
    return importlib.util.find_spec(KERAS_2) is not None


def choose_oracle(checkpoint: Checkpoint, network: Network) -> Oracle:
    """The faithful oracle for a file: of Keras 3 its own, of Keras 2 tf-keras, where it is there.

    Keras 3 loads Keras 2's Theano models without a word and computes something else, and cannot
    load Keras 1's: those, weights without a model, and models with other classes than Keras' own
    are given to the bundled definition of the network that was inferred.
    """
    version, given = checkpoint.version(), checkpoint.given
    if checkpoint.config is None:
        return Oracle("build", "the file holds weights only")
    if given and given.match == "names" and not checkpoint.is_ordered:
        return Oracle("build", "Keras loads such weights by class and number, not by names")
    if version is None:
        return Oracle("build", "the file does not say which Keras wrote it")
    if version[0] < 2:
        return Oracle("build", "Keras 3 cannot load a model of Keras 1")
    if network.theano:
        return Oracle("build", "Keras 3 computes something else for a model saved on Theano")
    if network.cut and not checkpoint.is_ordered:
        return Oracle("build", "Keras reads a part of such a file by order alone")
    if not network.cut and any(
        weight.parameter not in TRAINING_ALONE for weight in network.left_out
    ):
        return Oracle("build", "the network is a part of the model in the file")
    if network.is_raised:
        return Oracle("build", "Keras 3 uses epsilons that TensorFlow's fused kernel raised")
    if any(weight.pieces > 1 for weight in checkpoint.weights):
        return Oracle("build", "Keras 3 runs no Lambda layer's code, and convolutions read theirs")
    if any(isinstance(one.op, Upsample) and one.op.mode == "corner" for one in _general(network)):
        return Oracle("build", NO_CORNERS)
    config = configuration(checkpoint, network)
    loaded = loaded_generally() if network.lifted else LOADED
    code = with_code_to_run(checkpoint, network)
    if code:
        return Oracle("build", code)
    is_of_2 = version[0] == KERAS_2_MAJOR and not in_words_of_keras_3(config)
    library = KERAS_2 if is_of_2 and has_keras_2() else KERAS_3_LIBRARY
    if library == KERAS_2:
        loaded |= OPERATORS_OF_KERAS_2 | {NODE}
        unknown = sorted((functions(config) - TENSORFLOW.keys()) | (nodes(config) - KINDS.keys()))
        if unknown:
            return Oracle("build", f"functions that are not known: {', '.join(unknown[:4])}")
    foreign = sorted(set(class_names(config)) - loaded)
    if foreign:
        return Oracle("build", f"classes that Keras does not have: {', '.join(foreign[:4])}")
    return Oracle("load", "", library)


def configuration(checkpoint: Checkpoint, network: Network) -> Mapping[str, Any] | None:
    """What Keras makes a model of."""
    given = checkpoint.given
    return network.cut or (given.config if given else checkpoint.config)


def _general(network: Network) -> tuple[Layer, ...]:
    return network.lifted.program.layers if network.lifted else ()


def functions(config: Any) -> set[str]:
    """The functions of TensorFlow that a configuration names: `from_config` looks up any by its
    name, those that read and write files too (tf_keras 2.21 `layers/core/tf_op_layer.py`)."""
    found: set[str] = set()
    if isinstance(config, dict):
        inner = config.get("config")
        if config.get("class_name") in OPERATORS_OF_KERAS_2 and isinstance(inner, dict):
            found.add(str(inner.get("function")))
        config = list(config.values())
    for value in config if isinstance(config, list) else ():
        found |= functions(value)
    return found


def in_words_of_keras_3(config: Any) -> bool:
    """Whether Keras 3 wrote a configuration, which may be given for weights of Keras 2: its inputs
    have a `batch_shape`, where Keras 2 wrote `batch_input_shape`."""
    if isinstance(config, dict):
        inner = config.get("config")
        if config.get("class_name") == "InputLayer" and isinstance(inner, dict):
            return "batch_shape" in inner
        config = list(config.values())
    return isinstance(config, list) and any(map(in_words_of_keras_3, config))


def nodes(config: Any) -> set[str]:
    """The operations of all nodes of TensorFlow's graph that a configuration holds as layers."""
    found: set[str] = set()
    if isinstance(config, dict):
        if config.get("class_name") == NODE:
            try:
                found.add(operation(config["config"]))
            except (SettingError, KeyError, TypeError, AttributeError):
                found.add("none that can be read")
        config = list(config.values())
    for value in config if isinstance(config, list) else ():
        found |= nodes(value)
    return found


def class_names(config: Any) -> set[str]:
    """Every class that a configuration names, its registered package in front."""
    found: set[str] = set()
    if isinstance(config, dict):
        if isinstance(config.get("class_name"), str):
            found.add(class_of(config))
        for value in config.values():
            found |= class_names(value)
    elif isinstance(config, list):
        for value in config:
            found |= class_names(value)
    return found


class KerasChild:
    """Keras in a process of its own, which ends with the context. Once started it imports
    TensorFlow, which takes seconds: the caller may do something else before it asks."""

    def __init__(self) -> None:
        self.folder: WorkFolder | None = None
        self.process: subprocess.Popen[bytes] | None = None
        self.library = ""

    def __enter__(self) -> KerasChild:
        return self

    def __exit__(self, *error: object) -> None:
        self.end()

    def start(self, library: str = KERAS_3_LIBRARY) -> Path:
        """The folder of the job, in which the process waits for it, with that Keras."""
        if self.folder and self.library != library:
            self.end()
        if self.folder is None:
            self.folder, self.library = WorkFolder(), library
            # In this folder, so that nothing in the user's own folder is imported.
            self.process = subprocess.Popen(
                [*KERAS_CHILD, str(self.folder.path), str(os.getpid()), library],
                cwd=self.folder.path,
                env={**os.environ, "PYTHONHASHSEED": "0", "CUDA_VISIBLE_DEVICES": ""},
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        return self.folder.path

    def run(self) -> None:
        """Let it do the job that is in its folder now. Raises OracleError."""
        assert self.process
        assert self.process.stdin
        try:
            with suppress(BrokenPipeError):  # it has ended already, and says why
                self.process.stdin.write(b"begin\n")
                self.process.stdin.flush()  # and stays open: it ends when this process does
            self.process.wait(timeout=TIME_LIMIT)
        except subprocess.TimeoutExpired:
            raise OracleError(f"Keras was not done after {TIME_LIMIT} s") from None
        assert self.folder
        code, told = self.process.returncode, self.folder.path / "error.txt"
        if code:
            reason = told.read_text() if told.exists() else f"exit code {code}"
            line = reason.splitlines()[0][:300] if reason else "no reason given"
            if code in (UNREAD, DAMAGED):
                raise UnreadError(line, is_damaged=code == DAMAGED)
            raise OracleError(line)

    def end(self) -> None:
        if self.process:
            self.process.kill()
            self.process.communicate()
        if self.folder:
            self.folder.remove()
        self.process = self.folder = None


def ask(
    child: KerasChild,
    oracle: Oracle,
    checkpoint: Checkpoint,
    network: Network,
    pictures: Sequence[Array] | Sequence[Sequence[Array]],
    dtypes: Sequence[str] = ("float64", "float32"),
) -> Recording:
    """What Keras computes for each picture, in each dtype, and every layer of the first one.

    Whole activations stay on the disk, mapped; their files are gone with the recording. Raises
    OracleError; SourceError for a file that Keras finds damaged.
    """
    folder = child.start(oracle.library)
    batches = [[one] if isinstance(one, np.ndarray) else list(one) for one in pictures]
    job = json.dumps(_job(oracle, checkpoint, network, dtypes))
    try:
        _write(folder, job, batches)
        child.run()
        answered = [one for one in dtypes if (folder / f"{one}.npz").exists()]
        calls = network.lifted.calls if network.lifted else {}
        passes = [one for dtype in answered for one in _passes(folder, dtype, batches, calls)]
        told = json.loads((folder / "told.json").read_text())
    except UnreadError as error:
        if not error.is_damaged:
            raise
        hint = "fetch it again from its source"
        raise SourceError(
            f"{checkpoint.path} is damaged: Keras cannot read it", [str(error)], [hint]
        ) from error
    finally:
        child.end()
    what = "Keras itself" if oracle.is_original else BUNDLED
    reason = told["asked"] if oracle.is_original else oracle.reason
    meta = {"kind": "logits", "reason": reason}
    notes = tuple(told["notes"])
    return Recording(tuple(passes), what, meta, is_original=oracle.is_original, notes=notes)


Batches = Sequence[Sequence[Array]]
"""For each batch, an array for each input."""


def _write(folder: Path, job: str, batches: Batches) -> None:
    try:
        (folder / "job.json").write_text(job)
        for number, batch in enumerate(batches):
            for place, one in enumerate(batch):
                np.save(folder / f"input_{number:03}_{place:03}.npy", one)
    except OSError as error:  # numpy's have no strerror: '150528 requested and 45024 written'
        reason = f"{error.strerror or error} in {folder.parent} (TMPDIR), is it full?"
        raise OracleError(f"its pictures cannot be written: {reason}") from error


def _job(
    oracle: Oracle, checkpoint: Checkpoint, network: Network, dtypes: Sequence[str]
) -> dict[str, Any]:
    outputs = network.described.outputs
    single = len(outputs) == 1
    loads = oracle.kind == "load"
    lifted, last = network.lifted, network.lifted.last if network.lifted else {}
    modules = compared(network.structure)
    return {
        "kind": oracle.kind,
        "source": str(checkpoint.path.resolve()),
        "config": configuration(checkpoint, network) if oracle.library == KERAS_2 else None,
        "channels_first": loads and network.structure.channels_first,
        "keeps_faults": loads and (checkpoint.version() or (0,))[0] >= 3,
        "suffix": _suffix(checkpoint),
        "given": asdict(checkpoint.given) if checkpoint.given else None,
        "cut": network.cut,
        "match": checkpoint.match,
        "architecture": None if lifted else network.architecture.to_dict(),
        "layers": {} if lifted else dict(network.residual.layers),
        "layout": {"order": network.layout.order, "flipped": network.layout.flipped},
        "dtypes": list(dtypes),
        "calls": dict(lifted.calls) if lifted else {},
        "wanted": {layer if loads else module: layer for module, layer in modules.items()},
        "outputs": [
            {
                "name": "" if single else output.name,
                "layer": last.get(output.name, output.name),
                "loads": loads and output.activation != "linear",
            }
            for output in outputs
        ],
    }


def _suffix(checkpoint: Checkpoint) -> str:
    """What Keras tells the container of a whole model by."""
    if checkpoint.shards:
        return ".weights.json"
    if checkpoint.given:
        return ".h5" if checkpoint.is_ordered else ".keras"
    return ".keras" if zipfile.is_zipfile(checkpoint.path) else ".h5"


def _passes(folder: Path, dtype: str, batches: Batches, calls: Mapping[str, int]) -> list[Pass]:
    names = {
        layer: tuple(call_name(layer, number + 1) for number in range(count))
        for layer, count in calls.items()
    }
    with np.load(folder / f"{dtype}.npz", allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    return [
        Pass(
            first,
            _named(arrays, f"{number}/logits/"),
            _layers(folder, arrays, number),
            dtype,
            others=tuple(others),
            calls=names if number == 0 else {},
        )
        for number, (first, *others) in enumerate(batches)
    ]


def _named(arrays: Mapping[str, Array], prefix: str) -> dict[str, Array]:
    return {name.removeprefix(prefix): a for name, a in arrays.items() if name.startswith(prefix)}


def _layers(folder: Path, arrays: Mapping[str, Array], number: int) -> dict[str, Sample]:
    values = _named(arrays, f"{number}/value/")
    index = _named(arrays, f"{number}/index/")
    found = {layer: Sample(index[layer], value) for layer, value in values.items()}
    for layer, file in _named(arrays, f"{number}/whole/").items():
        whole = np.load(folder / f"whole_{file}.npy", mmap_mode="r")
        found[layer] = Sample(None, whole.reshape(-1), whole.shape)
    return found
