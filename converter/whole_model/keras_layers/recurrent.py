"""Recurrent layers: LSTM, GRU and the plain one, in one direction or both.

Sources: keras 2.2.4 and 2.3.1 `layers/recurrent.py`, `layers/wrappers.py`, 2.15 `layers/rnn/`,
3.15 `src/layers/rnn/`. Dropout is none when a network predicts; `unroll` and `implementation` are
ways to compute the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from converter.files.model_config import class_of, keywords
from converter.mapping.transforms import IO_TO_OI, Gates, Row
from converter.whole_model.keras_layers.activation import activation_op
from converter.whole_model.keras_layers.call import (
    Call,
    From,
    Lifting,
    NotLiftedError,
    Value,
)
from converter.whole_model.ranges import channels
from resnet_pt.ops import (
    GRU,
    LSTM,
    Activation,
    Combine,
    Concatenate,
    Op,
    Reverse,
    SimpleRNN,
)
from resnet_pt.ops.combine import How
from resnet_pt.ops.recurrent import Function, Recurrent

Weights = Mapping[str, From]


def _function(call: Call, name: Any, value: Value) -> Function:
    """An activation of its gates or its output, of each number by itself."""
    op = activation_op(call, name, value)
    if op is None:
        return Activation("linear")
    if not isinstance(op, Function) or op == Activation("softmax"):
        raise NotLiftedError(f"it applies {op.words()} at each step")
    return op


def _width(call: Call) -> int:
    """How many numbers of each step it reads."""
    value = call.value
    if value.rank != 2:
        raise NotLiftedError(f"it reads a sequence, and {value.rank} axes come behind the batch")
    if value.shape[1] is None:
        raise NotLiftedError("how many numbers it reads is not in the configuration")
    return value.shape[1]


def _check_call(call: Call) -> None:
    """A state to begin with, or a mask, is a second value, or a constant."""
    given = keywords(call.arguments)
    if given:
        raise NotLiftedError(f"it is called with {', '.join(sorted(given))}")


def _check(call: Call) -> None:
    """What makes its numbers depend on more than the values that it reads."""
    _check_call(call)
    if call.era.major == 1 or "units" not in call.config:
        raise NotLiftedError("Keras 1 keeps each of its gates in arrays of their own")
    if call.flag("stateful", default=False):
        raise NotLiftedError("it is stateful: each batch begins with the state of the one before")
    if call.flag("time_major", default=False):
        raise NotLiftedError("it is time_major: the batch is the second axis of what it reads")


def _settings(call: Call) -> dict[str, Any]:
    """The settings that all kinds have."""
    _check(call)
    return {
        "in_features": _width(call),
        "units": channels(call.first("units"), "units"),
        "bias": call.flag("use_bias", default=True),
        "sequences": call.flag("return_sequences", default=False),
        "backwards": call.flag("go_backwards", default=False),
        "activation": _function(call, call.config.get("activation"), call.value),
    }


MATRICES = {
    "weight_ih_l0": From("kernel", (IO_TO_OI,)),
    "weight_hh_l0": From("recurrent_kernel", (IO_TO_OI,)),
}
PLAIN = {**MATRICES, "bias_ih_l0": From("bias")}


def _lstm(call: Call) -> tuple[Recurrent, Weights]:
    return LSTM(**_settings(call), recurrent=_gate(call)), PLAIN


TORCHS = Gates((1, 0, 2))
"""Keras' gates are update, reset, new; torch's reset, update, new."""


def _gru(call: Call) -> tuple[Recurrent, Weights]:
    """Since 2.1.3 it says where it resets; before, it did so before it weighed the state."""
    after = call.flag("reset_after", default=False)
    kernels = {
        tensor: replace(source, transforms=(*source.transforms, TORCHS))
        for tensor, source in MATRICES.items()
    }
    bias = {"bias_ih_l0": From("bias", (TORCHS,))}
    if after:
        bias = {
            "bias_ih_l0": From("bias", (Row(0, 2), TORCHS)),
            "bias_hh_l0": From("bias", (Row(1, 2), TORCHS)),
        }
    op = GRU(**_settings(call), recurrent=_gate(call), reset_after=after)
    return op, {**kernels, **bias}


def _simple(call: Call) -> tuple[Recurrent, Weights]:
    return SimpleRNN(**_settings(call)), PLAIN


def _gate(call: Call) -> Function:
    return _function(call, call.config.get("recurrent_activation"), call.value)


KINDS: dict[str, Callable[[Call], tuple[Recurrent, Weights]]] = {
    "LSTM": _lstm,
    "GRU": _gru,
    "SimpleRNN": _simple,
}
"""What each class computes, and where its tensors come from."""


def _recurrent(call: Call) -> Value:
    op, weights = KINDS[call.class_name](call)
    return call.add(op, call.value, weights=weights)


HOW: Mapping[str, How] = {"sum": "add", "mul": "multiply", "ave": "average"}
"""What `merge_mode` does number by number; 'concat' sets the two beside each other."""


def _bidirectional(call: Call) -> Value:
    """One layer reads the steps as they come, the other one from the last to the first; what that
    gives for each step is turned back. Which of its settings Keras takes for the second from the
    first one is in `Bidirectional.__init__` (2.2.4, 3.15)."""
    _check_call(call)
    mode = call.config.get("merge_mode")
    if not isinstance(mode, str) or mode not in ("concat", *HOW):
        raise NotLiftedError(f"its merge_mode is {mode!r}")
    there = _inner(call, "layer")
    forward = _direction(call, there, "forward")
    if call.config.get("backward_layer") is None:
        back = {**there.config, "go_backwards": not there.flag("go_backwards", default=False)}
        second = replace(there, config=back)
    else:
        second = _inner(call, "backward_layer")
    backward = _direction(call, second, "backward")
    if there.flag("return_sequences", default=False):
        backward = call.add(Reverse((0,)), backward, plain=True)
    join: Op = Concatenate(forward.rank - 1) if mode == "concat" else Combine(HOW[mode])
    return call.add(join, forward, backward, part=".merged")


def _inner(call: Call, key: str) -> Call:
    """The call of a layer that it holds."""
    layer = call.config.get(key)
    name = class_of(layer) if isinstance(layer, dict) else ""
    if not isinstance(layer, dict) or name not in KINDS:
        raise NotLiftedError(f"it holds a {name or 'layer'}")
    return replace(call, class_name=name, config=layer["config"], arguments=None, layers=[])


def _direction(call: Call, inner: Call, way: str) -> Value:
    op, weights = KINDS[inner.class_name](inner)
    found = {
        tensor: replace(source, parameter=f"{way}_{source.parameter}")
        for tensor, source in weights.items()
    }
    return call.add(op, call.value, part=f".{way}_layer", weights=found)


LAYERS: dict[str, Lifting] = {
    **dict.fromkeys(KINDS, _recurrent),
    "Bidirectional": _bidirectional,
}
