"""`load`: a converted file → the network, ready to run; `save`: the way back, after training."""

from __future__ import annotations

import errno
import json
import math
import os
import secrets
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import torch

from resnet_pt.architecture import FORMAT, Architecture, check_parts
from resnet_pt.archive import check_archive, check_sums
from resnet_pt.check import problems
from resnet_pt.digest import digest
from resnet_pt.general import General
from resnet_pt.network import ResNet, described
from resnet_pt.ops import Supplied
from resnet_pt.ops.protocol import short
from resnet_pt.program import Program, from_dict
from resnet_pt.program import problems as of_program
from resnet_pt.supplied import LayersError, known, read_layers
from resnet_pt.tensors import tensors

EXTRA_STATE = "_extra_state"
ARCHIVE = b"PK\x03\x04"
MAX_HEADER = 16 * 2**20
"""Bytes of a safetensors header, and of a description as JSON; a ResNet-152's have 0.1 MB."""


class Told(msgspec.Struct):
    """One fact of a description, and how it is known. `assumed` is one that the network rests on
    and that nothing but a default says; a file of an older version does not say it."""

    name: str
    value: str
    evidence: str
    assumed: bool = False


class Description(msgspec.Struct):
    """What a file says of its network beside the architecture, which has a reader of its own."""

    layers: dict[str, str] = {}
    facts: list[Told] = []
    labels: list[str] = []
    sha256: str = ""
    source_sha256: str = ""
    config_sha256: str = ""


class FileError(ValueError):
    """A file that is not a converted network, or is not as it was written."""


def load(
    path: str | os.PathLike[str],
    device: torch.device | str = "cpu",
    *,
    layers: str | os.PathLike[str] | None = None,
) -> Any:
    """The network in a `.pth` or `.safetensors` file, in eval mode, on `device`: a `ResNet`, or a
    `General` one.

    The file says which network it is: no other argument is needed. Names, shapes and dtypes are
    held against that architecture, and a checksum against the tensors, before anything is used.
    `layers` is the file of layers that it was converted with (`--layers`), if it was; it is run.

    Raises FileError, naming what is wrong, for any other file; OSError if it cannot be read.
    Nothing in the file is run, and no more memory is used than its size warrants.
    """
    return load_described(Path(path), device, layers)[0]


def load_described(
    path: Path,
    device: torch.device | str = "cpu",
    layers: str | os.PathLike[str] | None = None,
) -> tuple[Any, dict[str, Any]]:
    """The network, and all that its file says of it: the evidence of each fact, class labels."""
    if not path.is_file() and path.exists():
        raise FileError(f"{path} is no file")
    state, description = read(path)
    is_general = "program" in description
    try:
        network: Architecture | Program = (
            from_dict(description.get("program"))
            if is_general
            else Architecture.from_dict(description.get("architecture"))
        )
    except (ValueError, RecursionError) as error:
        told = str(error)[:200]
        what = "network" if is_general else "architecture"
        raise FileError(f"{path}: the {what} in the file is not readable: {told}") from error
    if isinstance(network, Program):
        _check_supplied(path, network, layers)
    wrong = problems(network) if isinstance(network, Architecture) else of_program(network)
    if wrong:
        raise FileError(f"{path} describes a network that cannot be: {'; '.join(wrong[:5])}")
    _check_tensors(path, state, tensors(network))
    _check_digest(path, state, description)
    with torch.device("meta"):
        model = built(network)
    state[EXTRA_STATE] = {**model.get_extra_state(), "layers": description.get("layers", {})}
    model.load_state_dict(state, assign=True)
    return model.to(device).eval(), description


def _check_supplied(path: Path, program: Program, layers: str | os.PathLike[str] | None) -> None:
    """Read the file of layers that a network needs. Raises FileError where it is not given, or is
    not the one that the network was converted with."""
    try:
        given = read_layers(layers).sha256 if layers is not None else ""
    except LayersError as error:
        raise FileError(str(error)) from error
    for op in {one.op for one in program.layers if isinstance(one.op, Supplied)}:
        file = short(op.file)
        if given not in ("", op.sha256):
            raise FileError(
                f"{path} was converted with another {file} than {layers} is now: sha256 "
                f"{op.sha256[:12]}…, and {given[:12]}… of this one. Convert it again with this one"
            )
        layers_of = known(op.sha256)
        if layers_of is not None and op.entry not in layers_of.entries:
            raise FileError(f"{path}: {file} has no layer {short(op.entry)}")
        if layers_of is None:
            raise FileError(
                f"{path}: layers of it are computed by {file}, which it was converted with: give "
                f"it, resnet_pt.load(path, layers={file})"
            )


def built(network: Architecture | Program) -> ResNet | General:
    """A new network."""
    return ResNet(network) if isinstance(network, Architecture) else General(network)


def described_by(model: ResNet | General) -> Architecture | Program:
    """What describes a network in its file."""
    return model.architecture if isinstance(model, ResNet) else model.program


def save(
    model: ResNet | General,
    path: str | os.PathLike[str],
    *,
    labels: Sequence[str] = (),
    overwrite: bool = False,
) -> None:
    """Write `model` to `path` (.pth or .safetensors), so that `load` gives it again.

    float32 on the CPU, whatever the model is in; with `labels`, the names of its classes, which
    `predict` shows. The file is written beside `path`, made durable, loaded again, and only then
    put in place: killed at any moment, the old file or the new one is there.

    Raises ValueError for a model whose tensors are not those of its architecture (its head was
    replaced by hand) or another suffix, FileExistsError unless `overwrite`, and OSError.
    """
    path = Path(os.path.realpath(path))
    state = {
        name: tensor.detach().cpu().contiguous().to(_saved_as(name)).clone()
        for name, tensor in model.state_dict().items()
        if name != EXTRA_STATE
    }
    wrong = mismatches(state, tensors(described_by(model)))
    if wrong:
        raise ValueError(
            f"the model is not what its architecture says: {'; '.join(wrong[:5])}. "
            "Change its head with resnet_pt.with_classes"
        )
    if path.suffix not in WRITERS:
        raise ValueError(f"{path} needs a suffix that says its format: {', '.join(WRITERS)}")
    if path.exists() and not overwrite:
        raise FileExistsError(errno.EEXIST, "there already; overwrite=True replaces it", str(path))
    description = {**model.get_extra_state(), **({"labels": list(labels)} if labels else {})}
    description["sha256"] = digest(description, ((n, t.numpy()) for n, t in state.items()))
    draft = path.with_name(f".{path.name[:100]}.saving-{os.getpid()}-{secrets.token_hex(4)}")
    try:
        with draft.open("xb") as file:
            WRITERS[path.suffix](file, state, description)
            file.flush()
            os.fsync(file.fileno())
        load(draft)  # holds every bit against the checksum; NaN too, in a training that diverged
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def _saved_as(name: str) -> torch.dtype:
    return torch.int64 if name.endswith("num_batches_tracked") else torch.float32


def _write_pth(file: BinaryIO, state: dict[str, Any], description: dict[str, Any]) -> None:
    torch.save({**state, EXTRA_STATE: description}, file)


def _write_safetensors(file: BinaryIO, state: dict[str, Any], description: dict[str, Any]) -> None:
    from safetensors.torch import save as to_bytes

    text = json.dumps(description, sort_keys=True).encode()
    file.write(
        to_bytes({**state, EXTRA_STATE: torch.frombuffer(bytearray(text), dtype=torch.uint8)})
    )


WRITERS = {".pth": _write_pth, ".pt": _write_pth, ".safetensors": _write_safetensors}


def read(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """(tensors, description) of a file of either format, told by its first bytes."""
    with path.open("rb") as file:
        start = file.read(8)
    if start.startswith(ARCHIVE):
        return _read_pth(path)
    if len(start) == 8 and 2 <= struct.unpack("<Q", start)[0] <= MAX_HEADER:
        return _read_safetensors(path)
    raise FileError(f"{path} is neither a .pth nor a .safetensors file")


def _read_pth(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    try:
        check_archive(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever its unpickler meets
        raise FileError(f"{path} is not a plain torch state_dict: {_reason(error)}") from error
    if not isinstance(state, dict) or not isinstance(state.get(EXTRA_STATE), dict):
        raise FileError(f"{path} does not describe its network: convert-weights did not write it")
    description = _known_format(path, state.pop(EXTRA_STATE))
    if "sha256" not in description:  # then the archive's own checksums are all there is
        try:
            check_sums(path)
        except ValueError as error:
            raise FileError(f"{path}: {error}") from error
    return state, description


def _reason(error: Exception) -> str:
    """One line of what torch says; its advice, to read the file without its restrictions, is left
    out."""
    told = str(error).rpartition("WeightsUnpickler error:")[2].strip()
    return told.partition("\n")[0][:300] or type(error).__name__


def _read_safetensors(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            if EXTRA_STATE in file.keys():  # noqa: SIM118
                check_text(path, file.get_slice(EXTRA_STATE).get_shape())
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise FileError(f"{path} is not a safetensors file: {error}") from error
    try:
        description = described(state.pop(EXTRA_STATE))
    except (KeyError, ValueError, RecursionError):
        raise FileError(
            f"{path} does not describe its network: convert-weights did not write it"
        ) from None
    return state, _known_format(path, description)


def check_text(path: Path, shape: list[int]) -> None:
    """Refuse a description that is longer than any is, before it is parsed."""
    if math.prod(shape) > MAX_HEADER:
        raise FileError(f"{path} describes its network in more than {MAX_HEADER:,} bytes")


def _known_format(path: Path, description: Any) -> dict[str, Any]:
    if not isinstance(description, dict) or description.get("format") not in (1, FORMAT):
        raise FileError(f"{path} has a format that this version of resnet_pt does not know")
    try:
        check_parts(description)
        msgspec.convert(description, Description)
    except (ValueError, RecursionError) as error:
        raise FileError(f"{path} describes its network in no known way: {error}") from error
    return description


DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
"""What a converted network is written in, and what it may be saved in again."""


def _check_tensors(path: Path, state: dict[str, Any], shapes: dict[str, Any]) -> None:
    wrong = mismatches(state, shapes)
    if wrong:
        more = f" … and {len(wrong) - 5} more" if len(wrong) > 5 else ""
        shown = "; ".join(one[:200] for one in wrong[:5])
        raise FileError(f"{path} does not hold its network: {shown}{more}")


def mismatches(state: dict[str, Any], shapes: dict[str, Any]) -> list[str]:
    """What of a state_dict is not as an architecture has it."""
    wrong = [f"missing {name}" for name in shapes if name not in state]
    wrong += [f"unknown {name!r}" for name in state if name not in shapes]
    for name in shapes.keys() & state.keys():
        wrong += _misfit(name, state[name], shapes[name])
    return wrong


def _misfit(name: str, tensor: Any, shape: tuple[int, ...]) -> list[str]:
    """What is wrong with one tensor: [] for a plain one of the right shape and dtype."""
    expected = (torch.int64,) if name.endswith("num_batches_tracked") else DTYPES
    if type(tensor) is not torch.Tensor or tensor.layout != torch.strided:
        return [f"{name} is no plain tensor"]
    if tuple(tensor.shape) != shape:
        return [f"{name} is {tuple(tensor.shape)}, not {shape}"]
    if tensor.dtype not in expected:
        return [f"{name} is {tensor.dtype}, not {expected[0]}"]
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        return [f"{name} has fewer numbers than its shape"]
    return []


def _check_digest(path: Path, state: dict[str, Any], description: dict[str, Any]) -> None:
    """A file that was trained on and saved again has no checksum, and needs none."""
    written = description.pop("sha256", None)
    if written is None:
        return
    is_plain = all(tensor.dtype != torch.bfloat16 for tensor in state.values())  # as numpy has it
    arrays = ((name, tensor.numpy()) for name, tensor in state.items())
    if not is_plain or digest(description, arrays) != written:
        raise FileError(f"{path} is damaged: its tensors are not those that were written")
