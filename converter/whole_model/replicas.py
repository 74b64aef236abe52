"""Keras' `multi_gpu_model`: a model called once for each slice of a batch, and joined again.

keras 2.3.1 `utils/multi_gpu_utils.py`: a Lambda for each GPU slices the batch (its arguments are
`i` and `parts`), the model reads each, and a Concatenate along axis 0 joins what comes out: what
is predicted is what the model predicts. The Lambda's code is not looked at: it is taken for the
slice by its arguments and the layers around it.
"""

from __future__ import annotations

from typing import Any

Config = dict[str, Any]


def slices(config: Any) -> tuple[str, ...]:
    """The names of the Lambda layers that slice the batch; () for any other model."""
    layers = _layers(config)
    found = [layer for layer in layers if _slice(layer)]
    models = [layer for layer in layers if len(layer.get("inbound_nodes") or ()) == len(found)]
    numbers = [_slice(layer) for layer in found]
    in_turn = [(number, len(found)) for number in range(len(found))]
    if len(found) < 2 or sorted(numbers) != in_turn or len(models) != 1:
        return ()
    named = [_name(layer) for layer in found]
    sources = [call[0][0] for call in models[0]["inbound_nodes"] if len(call) == 1]
    others = [layer for layer in layers if layer not in (*found, *models)]
    read = {str(layer["inbound_nodes"]) for layer in found}
    is_whole = all(_is_input(layer) or _joins(layer, models[0], len(found)) for layer in others)
    return tuple(named) if sources == named and len(read) == 1 and is_whole else ()


def one_replica(config: Any) -> Any:
    """The configuration with its model called once, on the whole batch; others as they are."""
    names = slices(config)
    if not names:
        return config
    inner = config["config"]
    layers = {_name(layer): layer for layer in inner["layers"]}
    first = layers[names[0]]
    model = next(one for one in inner["layers"] if len(one["inbound_nodes"]) == len(names))
    kept = [one for one in inner["layers"] if _is_input(one)]
    kept.append({**model, "inbound_nodes": first["inbound_nodes"]})
    joined = [layers[output[0]]["inbound_nodes"][0][0] for output in inner["output_layers"]]
    return {**config, "config": {**inner, "layers": kept, "output_layers": [x[:3] for x in joined]}}


def _layers(config: Any) -> list[Config]:
    inner = config.get("config") if isinstance(config, dict) else None
    layers = inner.get("layers") if isinstance(inner, dict) else None
    found = layers if isinstance(layers, list) else []
    is_written = all(
        isinstance(layer, dict)
        and isinstance(layer.get("config"), dict | list)
        and isinstance(layer.get("inbound_nodes"), list)
        for layer in found
    )
    return found if is_written else []


def _slice(layer: Config) -> tuple[int, ...]:
    """(number, parts) of a Lambda that slices the batch; () for others."""
    if layer.get("class_name") != "Lambda":
        return ()
    arguments = layer["config"].get("arguments")
    if not isinstance(arguments, dict) or set(arguments) != {"i", "parts"}:
        return ()
    return arguments["i"], arguments["parts"]


def _name(layer: Config) -> str:
    return str(layer.get("name") or layer["config"]["name"])


def _is_input(layer: Config) -> bool:
    return bool(layer.get("class_name") == "InputLayer")


def _joins(layer: Config, model: Config, parts: int) -> bool:
    """Whether a layer joins one output of every call of a model, along the batch."""
    calls = layer["inbound_nodes"]
    read = [(one[0], one[2]) for one in calls[0]] if len(calls) == 1 else []
    is_batch = layer.get("class_name") == "Concatenate" and layer["config"].get("axis") == 0
    return is_batch and len(read) == parts and set(read) == {(_name(model), read[0][1])}
