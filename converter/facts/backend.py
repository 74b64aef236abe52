"""How the backend that wrote a file kept its kernels and its variances."""

from __future__ import annotations

from dataclasses import replace

from converter.errors import MismatchError
from converter.facts import changes
from converter.facts.fact import Evidence, Fact
from converter.files.checkpoint import Checkpoint
from converter.files.shapes import KernelLayout
from converter.mapping.transforms import OutsideRoot, Square, Transform
from converter.network import Structure
from converter.options import Options
from resnet_pt.ops import Norm


def backend(checkpoint: Checkpoint) -> tuple[bool, Fact]:
    """Whether Theano wrote the file: its convolution flips kernels and pads 'same' evenly."""
    if checkpoint.backend:
        reason = "the file's `backend` attribute"
        theano = checkpoint.backend == "theano"
        return theano, Fact("backend", checkpoint.backend, Evidence.ATTRIBUTES, reason)
    spellings = {weight.spelling for weight in checkpoint.weights}
    if checkpoint.version() == (0,):
        return True, Fact("backend", "theano", Evidence.DEFAULT, "Keras 0.x's default")
    if all(spelling.isdigit() for spelling in spellings):
        reason = "kernels are the same on every backend in this container"
        return False, Fact("backend", "any", Evidence.ATTRIBUTES, reason)
    keras_1 = any(
        weight.spelling.partition(":")[0].endswith("_W") or "_W_" in weight.spelling
        for weight in checkpoint.weights
    )
    if not keras_1:
        return False, Fact("backend", "tensorflow", Evidence.DEFAULT, "the file does not say")
    if any(":" in spelling for spelling in spellings):
        reason = "parameters named `…_W:0`, as Keras 1 on TensorFlow names them"
        return False, Fact("backend", "tensorflow", Evidence.ATTRIBUTES, reason)
    reason = "parameters named `…_W`, as Keras 1 on Theano names them"
    return True, Fact("backend", "theano", Evidence.ATTRIBUTES, reason)


WINDOWS = (1, 3, 5, 7)


def kernel_layout(
    checkpoint: Checkpoint, theano: bool, options: Options
) -> tuple[KernelLayout, tuple[Fact, ...]]:
    kernels = [w.shape for w in checkpoint.weights if len(w.shape) == 4]
    hwio = all(a == b and a in WINDOWS for a, b, _, _ in kernels)
    oihw = all(c == d and c in WINDOWS for _, _, c, d in kernels)
    order = "oihw" if oihw and not hwio else "hwio"
    reason = "the kernels' shapes" + (", (out, in, height, width)" if order == "oihw" else "")
    flipped = theano if options.theano_kernels is None else options.theano_kernels
    evidence = Evidence.ATTRIBUTES if options.theano_kernels is None else Evidence.USER
    why = "the backend's convolution" if evidence != Evidence.USER else "--theano-kernels"
    return KernelLayout(order, flipped), (
        Fact("kernels", order.upper(), Evidence.SHAPES, reason),
        Fact("flipped", "180 degrees (Theano)" if flipped else "no", evidence, why),
    )


def variance_transforms(
    checkpoint: Checkpoint, structure: Structure, options: Options
) -> tuple[Structure, tuple[Transform, ...], tuple[Fact, ...]]:
    """What has to be done to `running_std`, and to the epsilon beside it.

    Keras up to 1.0.5 kept a standard deviation there, and up to 1.0.7 added epsilon outside the
    root: (x - mean) / (sqrt(variance) + eps). Source: keras 1.0.5, 1.0.6, 1.0.7
    `layers/normalization.py`.
    """
    if not any("running_std" in weight.spelling for weight in checkpoint.weights):
        return structure, (), ()
    version = checkpoint.version()
    kind, fact = _running_std(version, options)
    transforms: tuple[Transform, ...] = (Square(),) if kind == "std" else ()
    if version is None or version >= (1, 0, 8):
        return structure, transforms, (fact,)
    epsilons = {norm.eps for norm in changes.norms(structure.architecture)}
    if len(epsilons) > 1 or _norm_in_head(structure):
        raise MismatchError(
            f"Keras {checkpoint.keras_version} adds epsilon outside the root, and this network has "
            "several epsilons or a norm in its head: that is not read yet"
        )
    (eps,) = epsilons
    reason = f"Keras {checkpoint.keras_version} adds epsilon to the root, not under it"
    outside = Fact("epsilon placement", "outside the root", Evidence.ATTRIBUTES, reason)
    architecture = changes.with_eps(structure.architecture, 0.0)
    structure = replace(structure, architecture=architecture)
    return structure, (*transforms, OutsideRoot(eps)), (fact, outside)


def _norm_in_head(structure: Structure) -> bool:
    return any(isinstance(layer.op, Norm) for layer in structure.architecture.head)


def _running_std(version: tuple[int, ...] | None, options: Options) -> tuple[str, Fact]:
    if options.running_std is not None:
        kind, evidence, reason = options.running_std, Evidence.USER, "--running-std"
    elif version is not None and version < (1, 0, 6):
        kind, evidence, reason = "std", Evidence.ATTRIBUTES, "as Keras before 1.0.6 kept it"
    elif version is not None and version >= (1, 0, 7):
        kind, evidence, reason = "variance", Evidence.ATTRIBUTES, "as Keras since 1.0.7 keeps it"
    else:
        reason = "in every Keras since 1.0.7, and on TensorFlow since 1.0.6, whatever its name says"
        kind, evidence = "variance", Evidence.DEFAULT
    value = "the variance" if kind == "variance" else "a standard deviation, squared"
    return kind, Fact("running_std", value, evidence, reason)
