"""Write what the real libraries call the tensors of a ResNet-50 into tests/keys/.

`python scripts/library_keys.py`, where the extra `destinations` is installed. The default tests
hold the destinations' tables against these lists without the libraries.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

KEYS = Path(__file__).parent.parent / "tests" / "keys"


def torchvision() -> Any:
    from torchvision.models import resnet50

    return resnet50()


def timm() -> Any:
    from timm import create_model

    return create_model("resnet50")


def transformers() -> Any:
    from transformers import ResNetConfig, ResNetForImageClassification

    return ResNetForImageClassification(ResNetConfig(num_labels=1000))


def mmpretrain() -> Any:
    import mmpretrain.models  # noqa: F401 registers the classes
    from mmpretrain.registry import MODELS

    return MODELS.build(
        {
            "type": "ImageClassifier",
            "backbone": {"type": "ResNet", "depth": 50},
            "neck": {"type": "GlobalAveragePooling"},
            "head": {"type": "LinearClsHead", "num_classes": 1000, "in_channels": 2048},
        }
    )


LIBRARIES = (torchvision, timm, transformers, mmpretrain)


def lines(model: Any) -> str:
    """A tensor a line: its name and its shape."""
    shapes = {name: tensor.shape for name, tensor in model.state_dict().items()}
    return "".join(f"{name} {'x'.join(map(str, shape))}\n" for name, shape in shapes.items())


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    KEYS.mkdir(exist_ok=True)
    for library in LIBRARIES:
        (KEYS / f"{library.__name__}.txt").write_text(lines(library()))
