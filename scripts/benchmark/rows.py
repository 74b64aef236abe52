"""What is compared with what, and what is to be reached. What is in braces: `__main__`."""

from __future__ import annotations

from dataclasses import dataclass

Template = tuple[str, ...]

CONVERT = ("-c", "from converter.cli.programs import convert_weights as run; run()")
INSPECT = ("-c", "from converter.cli.programs import inspect_weights as run; run()")
OTHERS = ("-m", "benchmark.others")
VERIFY_IMAGES = (
    "import sys; from converter.verification import verify_images; "
    "verify_images(*sys.argv[1:], keras_python=sys.executable, device='cpu')"
)
IMPORT_TORCH = ("-c", "import torch")


@dataclass(frozen=True)
class Beside:
    """Another way. `seconds` and `memory` are the ratios, ours to theirs, to reach; `needs` are the
    packages without which it is not measured. `target` is the file whose tensors must be ours."""

    name: str
    command: Template
    seconds: float | None = None
    memory: float | None = None
    needs: tuple[str, ...] = ()
    target: str = ""


@dataclass(frozen=True)
class Row:
    key: str
    what: str
    ours: Template
    beside: tuple[Beside, ...]
    exit_code: int = 0
    target: str = ""


INSTEAD = (
    Beside(
        "Keras 3 on torch, loading",
        (*OTHERS, "keras-torch", "{resnet50}"),
        seconds=1 / 3,
        needs=("keras",),
    ),
    Beside(
        "tf2onnx + onnx2torch",
        (*OTHERS, "onnx", "{resnet50}", "{work}/onnx.pth"),
        seconds=1 / 15,
        needs=("keras", "tensorflow", "tf2onnx", "onnx2torch"),
    ),
)
"""What else brings the network to torch."""


def _general(kind: str, name: str) -> Row:
    """The conversion of a network that is no residual one."""
    return Row(
        "general",
        f"convert {name} to `.pth`, tensors proven",
        (*CONVERT, f"{{{kind}}}", "{work}/ours.pth", "--force", "--no-parity"),
        (
            Beside(
                "plain work with torch",
                (*OTHERS, "plain-pth", f"{{{kind}}}", "{work}/plain.pth"),
                seconds=1.3,
                memory=1.15,
                needs=("keras",),
                target="{work}/plain.pth",
            ),
        ),
        target="{work}/ours.pth",
    )


ROWS = (
    Row(
        "pth",
        "convert to `.pth`, tensors proven",
        (*CONVERT, "{resnet50}", "{work}/ours.pth", "--force", "--no-parity"),
        (
            Beside(
                "plain work with torch",
                (*OTHERS, "plain-pth", "{resnet50}", "{work}/plain.pth"),
                seconds=1.3,
                memory=1.15,
                target="{work}/plain.pth",
            ),
            *INSTEAD,
        ),
        target="{work}/ours.pth",
    ),
    Row(
        "safetensors",
        "convert to `.safetensors`, tensors proven",
        (*CONVERT, "{resnet50}", "{work}/ours.safetensors", "--force", "--no-parity"),
        (
            Beside(
                "plain work without torch",
                (*OTHERS, "plain-safetensors", "{resnet50}", "{work}/plain.safetensors"),
                seconds=1.8,
                memory=1.15,
                target="{work}/plain.safetensors",
            ),
            *INSTEAD,
        ),
        target="{work}/ours.safetensors",
    ),
    Row(
        "logits",
        "convert to `.pth`, logits proven",
        (*CONVERT, "{resnet50}", "{work}/proven.pth", "--force", "--require-parity"),
        (
            Beside(
                "Keras loads and predicts the same inputs",
                (*OTHERS, "keras-predict", "{resnet50}", "{inputs}"),
                seconds=2.5,
                needs=("keras", "tensorflow"),
            ),
        ),
    ),
    Row(
        "inspect",
        "`inspect-weights`",
        (*INSPECT, "{resnet50}"),
        (Beside("`import torch`", IMPORT_TORCH, seconds=0.3),),
    ),
    Row(
        "help",
        "`convert-weights --help`",
        (*CONVERT, "--help"),
        (Beside("`import torch`", IMPORT_TORCH, seconds=0.3),),
    ),
    Row(
        "refusal",
        "refuse a file that is cut off",
        (*CONVERT, "{cut}", "{work}/refused.pth"),
        (Beside("`import torch`", IMPORT_TORCH, seconds=0.3),),
        exit_code=3,
    ),
    _general("mobilenetv2", "MobileNetV2"),
    _general("unet", "a U-Net"),
    Row(
        "verify",
        "predictions for {count} pictures compared",
        (*("-c", VERIFY_IMAGES, "{converted}", "{resnet50}", "{pictures}"),),
        (
            Beside(
                "the forward passes alone",
                (*OTHERS, "forward", "{resnet50}", "{converted}", "{pictures}"),
                seconds=1.2,
                needs=("keras", "tensorflow"),
            ),
        ),
    ),
)

GENERAL = {"mobilenetv2": "MobileNetV2", "unet": "a U-Net"}
"""Networks that are no residual ones, and what they are called."""

GROWTH = ("resnet50", "resnet101", "resnet152", "wide")
"""The files that are converted to both formats, to see how time and memory grow."""


@dataclass(frozen=True)
class Way:
    """A way to run the network on one device. `bound` is the ratio of ours to it that is to be
    reached; the first of a list is ours. `same` is whether it computes our network."""

    key: str
    name: str
    needs: tuple[str, ...] = ()
    bound: float = 1.0
    same: bool = True


BATCHES = (1, 8, 32)

CPU = (
    Way("optimize", "`resnet_pt.optimize`"),
    Way("plain", "the plain network"),
    Way("torchvision", "torchvision, eager", ("torchvision",), same=False),
    Way("keras-predict", "Keras, predict", ("keras", "tensorflow")),
    Way("tf-function", "Keras, tf.function", ("keras", "tensorflow")),
    Way("onnxruntime", "onnxruntime", ("onnxruntime", "onnxscript"), bound=1.2),
)

CPU_COMPILED = (
    Way("optimize", "`resnet_pt.optimize`"),
    Way("optimize-compile", "`resnet_pt.optimize(compile=True)`"),
    Way("torchvision-compile", "torchvision, torch.compile", ("torchvision",), same=False),
    Way("tf-function-xla", "Keras, tf.function with XLA", ("keras", "tensorflow")),
    Way("onnxruntime", "onnxruntime", ("onnxruntime", "onnxscript"), bound=1.2),
)
"""Beside what takes a compiler, and minutes at the first batch of a size."""

GPU = (
    Way("optimize-compile", "`resnet_pt.optimize(compile=True)`"),
    Way("optimize", "`resnet_pt.optimize`"),
    Way("torchvision", "torchvision, eager", ("torchvision",), same=False),
    Way("torchvision-compile", "torchvision, torch.compile", ("torchvision",), same=False),
)

BY_HAND = {
    kind: (
        Way("plain", "the converted network", ("keras",)),
        Way(f"by-hand-{kind}", "written by hand in torch", ("keras",), bound=1.05),
    )
    for kind in GENERAL
}
"""A general network as it is, beside the same network as somebody would write it in torch."""

BY_HAND_BATCHES = (1, 8)
