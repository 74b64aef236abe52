"""Towards training on: other classes on the same body, and parts that stay as they are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from resnet_pt.architecture import Architecture, Dense, GlobalPool, Layer, Output
from resnet_pt.network import ResNet


def with_classes(model: ResNet, classes: int, activation: str = "softmax") -> ResNet:
    """A new network: the body of `model` with its weights, then a global average and a new Dense
    layer of `classes` logits, initialised as Keras does it. `activation` is what comes after the
    logits. `model` stays as it was; an eval or training mode is kept.

    Give it the model rather than setting `model.fc`: the architecture then says what the network
    is, and `resnet_pt.save` writes it.
    """
    new = ResNet(with_head(model.architecture, classes, activation))
    body = {name: tensor for name, tensor in model.state_dict().items() if is_body(name)}
    missing = new.load_state_dict(body, strict=False).missing_keys
    assert all(not is_body(name) for name in missing), missing
    keras_initialised(new.fc)
    device = next(model.parameters()).device
    return new.to(device).train(model.training)


def with_head(architecture: Architecture, classes: int, activation: str) -> Architecture:
    """The same body with a global average and one Dense layer."""
    features = architecture.features
    return replace(
        architecture,
        head=(
            Layer("avg_pool", GlobalPool("avg"), ("",)),
            Layer("fc", Dense(features, classes), ("avg_pool",)),
        ),
        outputs=(Output("fc", "fc", activation),),
    )


def is_body(name: str) -> bool:
    """Whether a tensor comes before the head."""
    return not name.startswith(("fc.", "head.")) and name != "_extra_state"


def keras_initialised(module: nn.Module) -> None:
    """Every convolution and Dense layer in it as Keras starts them: Glorot's uniform kernels, zero
    biases. torch's own are wider by a factor that depends on the layer."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def sections(model: ResNet) -> list[tuple[str, list[nn.Module]]]:
    """The network in parts, first to last: `stem`, `layer1` …, `head`."""
    last = f"layer{len(model.architecture.stages)}"
    home = {"avgpool": "head", "fc": "head", "head": "head", "norm": last}
    found: dict[str, list[nn.Module]] = {}
    for name, module in model.named_children():
        section = name if name.startswith("layer") else home.get(name, "stem")
        found.setdefault(section, []).append(module)
    return list(found.items())


def freeze(model: ResNet, until: str) -> None:
    """Keep every part up to and with `until` ('stem', 'layer1' …) as it is while training.

    A frozen BatchNorm also keeps its statistics and uses them, as `trainable = False` means in
    tf.keras 2 and Keras 3: `train_unfrozen` sees to it, and stands for `model.train()` from here.

    Raises ValueError for a part that the network lacks.
    """
    names = [name for name, _ in sections(model)][:-1]
    if until not in names:
        raise ValueError(f"there is no {until!r} to freeze; known are {', '.join(names)}")
    for _, modules in sections(model)[: names.index(until) + 1]:
        for module in modules:
            module.requires_grad_(False)


def train_unfrozen(model: nn.Module) -> nn.Module:
    """`model.train()`, but for every BatchNorm whose own parameters are all frozen."""
    model.train()
    for module in model.modules():
        if isinstance(module, _BatchNorm) and not any(
            parameter.requires_grad for parameter in module.parameters(recurse=False)
        ):
            module.eval()
    return model


def parameter_groups(model: ResNet, lr: float, decay: float) -> Iterator[dict[str, object]]:
    """For an optimiser: `lr` for the head, and from there down `decay` times less a section.
    Frozen parameters, and sections without any other, are left out."""
    for distance, (name, modules) in enumerate(reversed(sections(model))):
        parameters = [p for module in modules for p in module.parameters() if p.requires_grad]
        if parameters:
            yield {"name": name, "params": parameters, "lr": lr * decay**distance}
