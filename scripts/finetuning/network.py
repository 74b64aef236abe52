"""The network to train: the converted body, new classes, what is frozen, and the optimiser."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch.optim import SGD
from torch.optim.lr_scheduler import LambdaLR

import resnet_pt
from converter.cli.prediction import decide, open_target
from converter.errors import MismatchError, UsageError
from finetuning.settings import Settings
from resnet_pt.network import ResNet
from resnet_pt.pictures import Preprocess
from resnet_pt.transfer import freeze, parameter_groups


def build(settings: Settings, classes: int) -> tuple[ResNet, Preprocess]:
    """(network in training mode on the CPU, its transform). The architecture says from now on how
    the pictures were prepared, so that the trained file needs no option.

    Momentum and epsilon of every BatchNorm are those of the file, and so Keras'. Raises
    MismatchError for a network of another kind.
    """
    start, description = open_target(settings.start, "cpu")
    if not isinstance(start, ResNet):
        raise MismatchError(f"{settings.start} holds no residual network: no head is known in it")
    torch.manual_seed(settings.seed)
    model = resnet_pt.with_classes(start, classes)
    transform, _ = decide(
        model, description, settings.preprocess, settings.interpolation, settings.size
    )
    model.architecture = replace(
        model.architecture, preprocessing=transform.mode, input_size=transform.size
    )
    if settings.freeze:
        try:
            freeze(model, settings.freeze)
        except ValueError as error:
            raise UsageError(f"--freeze: {error}") from error
    return model, transform


def optimiser(model: ResNet, settings: Settings, steps: int) -> tuple[SGD, LambdaLR]:
    """(SGD, its schedule by the step). torch's velocity leaves the rate out and Keras' has it in:
    the same steps as long as the rate is constant."""
    groups = list(parameter_groups(model, settings.lr, settings.layer_decay))
    sgd = SGD(
        groups, lr=settings.lr, momentum=settings.momentum, weight_decay=settings.weight_decay
    )
    return sgd, LambdaLR(sgd, cosine(steps) if settings.schedule == "cosine" else lambda step: 1.0)


def cosine(steps: int):  # type: ignore[no-untyped-def]
    return lambda step: (1 + math.cos(math.pi * min(step / max(steps, 1), 1.0))) / 2
