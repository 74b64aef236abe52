"""Layers that act while training alone, and those that only name a value."""

from __future__ import annotations

from converter.whole_model.keras_layers.call import Call, Lifting, Value
from converter.whole_model.ranges import number
from resnet_pt.ops import Dropout


def _dropout(call: Call) -> Value:
    return call.add(Dropout(number(call.first("rate", "p"), "rate")), call.value)


def _nothing(call: Call) -> Value:
    return call.value


NOTHING = (
    *("SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D", "GaussianNoise"),
    *("GaussianDropout", "AlphaDropout", "ActivityRegularization", "RandomFlip", "RandomRotation"),
    *("RandomZoom", "RandomTranslation", "RandomContrast", "RandomBrightness", "Identity"),
    *("AugMix", "CutMix", "MixUp", "RandAugment", "RandomColorDegeneration", "RandomColorJitter"),
    *("RandomElasticTransform", "RandomErasing", "RandomGaussianBlur", "RandomGrayscale"),
    *("RandomHue", "RandomInvert", "RandomPerspective", "RandomPosterization"),
    *("RandomSaturation", "RandomSharpness", "RandomShear", "RandomHeight", "RandomWidth"),
)
"""Layers that do nothing at inference, and have no module of the same meaning in torch."""

LAYERS: dict[str, Lifting] = {"Dropout": _dropout, **dict.fromkeys(NOTHING, _nothing)}
