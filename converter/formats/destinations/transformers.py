"""A directory for `transformers.ResNetForImageClassification.from_pretrained`.

Source: models/resnet of transformers 5.24; ViTImageProcessor is its processor that resizes to a
square, as Keras' `load_img` does, without cutting.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from converter.errors import UsageError
from converter.files.checkpoint import Array
from converter.formats.destination import About, Run, runner
from converter.formats.destinations import _plain
from converter.formats.plain import plain, plain_obstacles
from converter.mapping.export import ExportPlan
from converter.mapping.transforms import Backwards
from resnet_pt.architecture import Architecture
from resnet_pt.preprocessing import MODES, Scaling

SUMMARY = "a directory that ResNetForImageClassification.from_pretrained loads"
SUFFIXES = ()
LIBRARY = "transformers"
NEEDS = ()

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
PROCESSOR = PICTURES = "preprocessor_config.json"

TABLE: _plain.Table = (
    ("conv1", "resnet.embedder.embedder.convolution"),
    ("bn1", "resnet.embedder.embedder.normalization"),
    (
        "layer{layer}.{index}.conv1",
        "resnet.encoder.stages.{place}.layers.{index}.layer.0.convolution",
    ),
    (
        "layer{layer}.{index}.bn1",
        "resnet.encoder.stages.{place}.layers.{index}.layer.0.normalization",
    ),
    (
        "layer{layer}.{index}.conv2",
        "resnet.encoder.stages.{place}.layers.{index}.layer.1.convolution",
    ),
    (
        "layer{layer}.{index}.bn2",
        "resnet.encoder.stages.{place}.layers.{index}.layer.1.normalization",
    ),
    (
        "layer{layer}.{index}.conv3",
        "resnet.encoder.stages.{place}.layers.{index}.layer.2.convolution",
    ),
    (
        "layer{layer}.{index}.bn3",
        "resnet.encoder.stages.{place}.layers.{index}.layer.2.normalization",
    ),
    (
        "layer{layer}.{index}.downsample.0",
        "resnet.encoder.stages.{place}.layers.{index}.shortcut.convolution",
    ),
    (
        "layer{layer}.{index}.downsample.1",
        "resnet.encoder.stages.{place}.layers.{index}.shortcut.normalization",
    ),
    ("{head}", "classifier.1"),
)

equivalent = _plain.equivalent


def obstacles(architecture: Architecture) -> list[str]:
    found = plain_obstacles(architecture)
    if found:
        return found
    network = plain(architecture)
    found = _plain.mixed(network)
    if network.classifier is None:
        found.append("no classifier: ResNetForImageClassification has one")
    return found + _plain.expansion(network)


def export(architecture: Architecture) -> ExportPlan:
    first = (Backwards(),) if reads_bgr(architecture) else ()
    return _plain.export(TABLE, architecture, first=first)


def reads_bgr(architecture: Architecture) -> bool:
    """Whether the original read blue first. No processor gives that, so the first convolution is
    turned round: the directory's network reads red first."""
    return architecture.preprocessing == "caffe" and architecture.in_channels == 3


def files(
    architecture: Architecture, tensors: Mapping[str, Array], about: About
) -> dict[str, bytes]:
    from safetensors.numpy import save

    found = {
        CONFIG: _json(config(architecture, about)),
        WEIGHTS: save(dict(tensors), metadata={"format": "pt"}),
    }
    if architecture.preprocessing in SCALING:
        found[PROCESSOR] = _json(processor(architecture))
    return found


def config(architecture: Architecture, about: About) -> dict[str, Any]:
    """`ResNetConfig`, and what our own layout says, which transformers keeps and does not read."""
    network = plain(architecture)
    classes = network.classifier.out_features if network.classifier else 0
    labels = about.labels or tuple(f"LABEL_{number}" for number in range(classes))
    if len(labels) != classes:
        raise UsageError(f"--labels has {len(labels)} names, the network {classes} classes")
    return {
        "architectures": ["ResNetForImageClassification"],
        "model_type": "resnet",
        "num_channels": network.in_channels,
        "embedding_size": network.stem,
        "hidden_sizes": network.out,
        "depths": network.depths,
        "layer_type": "bottleneck" if network.convolutions == 3 else "basic",
        "hidden_act": "relu",
        "downsample_in_first_stage": False,
        "downsample_in_bottleneck": network.stride_on == "1x1",
        "id2label": {str(number): label for number, label in enumerate(labels)},
        "label2id": {label: number for number, label in enumerate(labels)},
        "convert_weights": about.description,
    }


def scaling(one: Scaling) -> dict[str, Any]:
    """What a processor does to pictures of 0 to 255 in RGB: a factor, then a mean and a deviation.
    One that does nothing rescales by 1, which makes floats."""
    largest = 1.0 if one.divisor == 1.0 else 255.0
    in_rgb = slice(None, None, -1 if one.bgr else 1)
    mean, deviation = (
        [round(number / largest, 9) for number in numbers[in_rgb]]
        for numbers in (one.means, one.deviations)
    )
    normalizes = any(mean) or set(deviation) != {1.0}
    rescales = largest != 1.0 or not normalizes
    return {
        "do_rescale": rescales,
        **({"rescale_factor": 1 / largest} if rescales else {}),
        "do_normalize": normalizes,
        **({"image_mean": mean, "image_std": deviation} if normalizes else {}),
    }


SCALING: Mapping[str | None, dict[str, Any]] = {mode: scaling(one) for mode, one in MODES.items()}
"""Keras' modes (`imagenet_utils.preprocess_input` of Keras 3), and x / 255."""


def processor(architecture: Architecture) -> dict[str, Any]:
    """`ViTImageProcessor` as the original project scaled its pictures; 0 is PIL's nearest, the
    default of Keras' `load_img`."""
    height, width = architecture.input_size or (224, 224)
    return {
        "image_processor_type": "ViTImageProcessor",
        "do_resize": True,
        "size": {"height": height, "width": width},
        "resample": 0,
        **SCALING[architecture.preprocessing],
    }


def _json(data: Mapping[str, Any]) -> bytes:
    return (json.dumps(data, indent=2) + "\n").encode()


def read(path: Path, architecture: Architecture) -> dict[str, Array]:
    from safetensors.numpy import load_file

    return load_file(path / WEIGHTS)


def load(path: Path, architecture: Architecture) -> Run:
    from transformers import ResNetForImageClassification
    from transformers.utils import logging

    logging.disable_progress_bar()
    model, info = ResNetForImageClassification.from_pretrained(
        str(path), local_files_only=True, output_loading_info=True
    )
    wrong = {name: keys for name, keys in info.items() if keys}
    if wrong:
        raise RuntimeError(f"transformers did not load every tensor: {wrong}")
    run = runner(model, lambda result: result.logits)
    if not reads_bgr(architecture):
        return run
    return lambda pictures: run(np.ascontiguousarray(pictures[:, ::-1]))


def usage(architecture: Architecture, target: str) -> list[str]:
    lines = [
        f"model = transformers.ResNetForImageClassification.from_pretrained({target!r})",
        "logits = model(pictures).logits",
    ]
    if architecture.preprocessing in SCALING:
        lines.insert(0, f"processor = transformers.AutoImageProcessor.from_pretrained({target!r})")
    return lines


def losses(architecture: Architecture) -> list[str]:
    found = _plain.losses(architecture)
    if reads_bgr(architecture):
        found.append(
            "the order of channels: the first convolution is turned round and reads RGB, not BGR"
        )
    return found
