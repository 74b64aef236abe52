"""Weights only: files that were published, known by their MD5, and the code that goes with them.

What such a file does not say is not assumed: the code that its publisher loads it with says it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from converter.facts.defaults import Defaults
from converter.facts.fact import Evidence, Fact
from converter.facts.table import BY_NAME, changed
from converter.facts.user import restated, told
from converter.files.checkpoint import Checkpoint
from converter.files.source import digest
from converter.network import Structure


@dataclass(frozen=True, slots=True)
class Release:
    """A published file: its MD5 and name, the naming of its layers, who published it, and the facts
    that several versions of the code that loads it disagree on: it leaves them open. `sets` are
    facts, by their names in `converter.facts.table`, in which that code is not the naming's own."""

    md5: str
    name: str
    dialect: str
    publisher: str
    left_open: frozenset[str] = frozenset()
    sets: tuple[tuple[str, Any], ...] = ()


MODELS = "fchollet/deep-learning-models v0.2"
BY_VERSION = frozenset(["stem", "pool", "epsilon"])
"""What Keras' own code did in four ways with the files of `MODELS` (surroundings.TIMELINE)."""

APPLICATIONS = "keras-applications"
CNN_FINETUNE = "flyyufelix/cnn_finetune"
CLASSIFIERS = "qubvel/classification_models"

METRABS = "isarandi/metrabs"
"""torchvision's weights under the names of keras-applications: what is strided is padded by what
the network was made with (`centered_stride`), and so left open."""

BASIC: tuple[tuple[str, Any], ...] = (("epsilon", 1e-5),)
BOTTLENECK: tuple[tuple[str, Any], ...] = (*BASIC, ("stride on", "3x3"))
PADDED = frozenset(["padding"])

RELEASES = (
    Release(
        "a7b3fe01876f51b976af0dea6bc144eb",
        "resnet50_weights_tf_dim_ordering_tf_kernels.h5",
        "res-branch",
        MODELS,
        BY_VERSION,
    ),
    Release(
        "a268eb855778b3df3c7506639542a6af",
        "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "res-branch",
        MODELS,
        BY_VERSION,
    ),
    Release(
        "1c1f8f5b0c8ee28fe9d950625a230e1c",
        "resnet50_weights_th_dim_ordering_th_kernels.h5",
        "res-branch",
        MODELS,
        BY_VERSION,
    ),
    Release(
        "f64f049c92468c9affcd44b0976cdafe",
        "resnet50_weights_th_dim_ordering_th_kernels_notop.h5",
        "res-branch",
        MODELS,
        BY_VERSION,
    ),
    Release(
        "2cb95161c43110f7111970584f804107",
        "resnet50_weights_tf_dim_ordering_tf_kernels.h5",
        "conv-block",
        APPLICATIONS,
    ),
    Release(
        "4d473c1dd8becc155b73f8504c6f6626",
        "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "conv-block",
        APPLICATIONS,
    ),
    Release(
        "f1aeb4b969a6efcfb50fad2f0c20cfc5",
        "resnet101_weights_tf_dim_ordering_tf_kernels.h5",
        "conv-block",
        APPLICATIONS,
    ),
    Release(
        "88cf7a10940856eca736dc7b7e228a21",
        "resnet101_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "conv-block",
        APPLICATIONS,
    ),
    Release(
        "100835be76be38e30d865e96f2aaae62",
        "resnet152_weights_tf_dim_ordering_tf_kernels.h5",
        "conv-block",
        APPLICATIONS,
    ),
    Release(
        "ee4c566cf9a93f14d82f913c2dc6dd0c",
        "resnet152_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "conv-block",
        APPLICATIONS,
    ),
    Release(
        "3ef43a0b657b3be2300d5770ece849e0",
        "resnet50v2_weights_tf_dim_ordering_tf_kernels.h5",
        "conv-block-v2",
        APPLICATIONS,
    ),
    Release(
        "fac2f116257151a9d068a22e544a4917",
        "resnet50v2_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "conv-block-v2",
        APPLICATIONS,
    ),
    Release(
        "6343647c601c52e1368623803854d971",
        "resnet101v2_weights_tf_dim_ordering_tf_kernels.h5",
        "conv-block-v2",
        APPLICATIONS,
    ),
    Release(
        "c0ed64b8031c3730f411d2eb4eea35b5",
        "resnet101v2_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "conv-block-v2",
        APPLICATIONS,
    ),
    Release(
        "a49b44d1979771252814e80f8ec446f9",
        "resnet152v2_weights_tf_dim_ordering_tf_kernels.h5",
        "conv-block-v2",
        APPLICATIONS,
    ),
    Release(
        "ed17cf2e0169df9d443503ef94b23b33",
        "resnet152v2_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "conv-block-v2",
        APPLICATIONS,
    ),
    Release(
        "67a5b30d522ed92f75a1f16eef299d1a",
        "resnext50_weights_tf_dim_ordering_tf_kernels.h5",
        "resnext",
        APPLICATIONS,
    ),
    Release(
        "62527c363bdd9ec598bed41947b379fc",
        "resnext50_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "resnext",
        APPLICATIONS,
    ),
    Release(
        "34fb605428fcc7aa4d62f44404c11509",
        "resnext101_weights_tf_dim_ordering_tf_kernels.h5",
        "resnext",
        APPLICATIONS,
    ),
    Release(
        "0f678c91647380debd923963594981b3",
        "resnext101_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "resnext",
        APPLICATIONS,
    ),
    Release(
        "867a922efc475e9966d0f3f7b884dc15", "resnet101_weights_tf.h5", "caffe-scale", CNN_FINETUNE
    ),
    Release(
        "3d2e9a49d05192ce6e22200324b7defe", "resnet101_weights_th.h5", "caffe-scale", CNN_FINETUNE
    ),
    Release(
        "64da73012bb70e16c901316c201d9803", "resnet18_imagenet_1000.h5", "mxnet-unit", CLASSIFIERS
    ),
    Release(
        "318e3ac0cd98d51e917526c9f62f0b50",
        "resnet18_imagenet_1000_no_top.h5",
        "mxnet-unit",
        CLASSIFIERS,
    ),
    Release(
        "2ac8277412f65e5d047f255bcbd10383", "resnet34_imagenet_1000.h5", "mxnet-unit", CLASSIFIERS
    ),
    Release(
        "8caaa0ad39d927cb8ba5385bf945d582",
        "resnet34_imagenet_1000_no_top.h5",
        "mxnet-unit",
        CLASSIFIERS,
    ),
    Release(
        "d0feba4fc650e68ac8c19166ee1ba87f", "resnet50_imagenet_1000.h5", "mxnet-unit", CLASSIFIERS
    ),
    Release(
        "db3b217156506944570ac220086f09b6",
        "resnet50_imagenet_1000_no_top.h5",
        "mxnet-unit",
        CLASSIFIERS,
    ),
    Release(
        "bb8963db145bc9906452b3d9c9917275",
        "resnet50_imagenet11k-places365ch_11586.h5",
        "mxnet-unit",
        CLASSIFIERS,
    ),
    Release(
        "9489ed2d5d0037538134c880167622ad", "resnet101_imagenet_1000.h5", "mxnet-unit", CLASSIFIERS
    ),
    Release(
        "1016e7663980d5597a4e224d915c342d",
        "resnet101_imagenet_1000_no_top.h5",
        "mxnet-unit",
        CLASSIFIERS,
    ),
    Release(
        "1efffbcc0708fb0d46a9d096ae14f905", "resnet152_imagenet_1000.h5", "mxnet-unit", CLASSIFIERS
    ),
    Release(
        "5867b94098df4640918941115db93734",
        "resnet152_imagenet_1000_no_top.h5",
        "mxnet-unit",
        CLASSIFIERS,
    ),
    Release(
        "24791790f6ef32f274430ce4a2ffee5d",
        "resnet152_imagenet11k_11221.h5",
        "mxnet-unit",
        CLASSIFIERS,
    ),
    Release(
        "a04f614a6c28f19f9e766a22a65d87d7",
        "resnet18_weights_tf_dim_ordering_tf_kernels.h5",
        "conv-block",
        METRABS,
        PADDED,
        BASIC,
    ),
    Release(
        "cd9aca5b625298765956a04230be071a",
        "resnet18_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "conv-block",
        METRABS,
        PADDED,
        BASIC,
    ),
    Release(
        "25351c4102513ba73866398dfda04546",
        "resnet34_weights_tf_dim_ordering_tf_kernels.h5",
        "conv-block",
        METRABS,
        PADDED,
        BASIC,
    ),
    Release(
        "5d0432fa0b4d5bf5fd88f04151f590a4",
        "resnet34_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "conv-block",
        METRABS,
        PADDED,
        BASIC,
    ),
    Release(
        "595763ceca1995bf6e34ccd730b81741",
        "resnet50v1_5_weights_tf_dim_ordering_tf_kernels.h5",
        "conv-block",
        METRABS,
        PADDED,
        BOTTLENECK,
    ),
    Release(
        "315b92000a86ce737f460441071d7579",
        "resnet50v1_5_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "conv-block",
        METRABS,
        PADDED,
        BOTTLENECK,
    ),
    Release(
        "b16e80439827b6abfb2c378ac434fd45",
        "resnet101v1_5_weights_tf_dim_ordering_tf_kernels.h5",
        "conv-block",
        METRABS,
        PADDED,
        BOTTLENECK,
    ),
    Release(
        "0b87f84107ae1a0616f76d028781b6a6",
        "resnet101v1_5_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "conv-block",
        METRABS,
        PADDED,
        BOTTLENECK,
    ),
    Release(
        "2e445ecb46e5d72aa0004b51f668623c",
        "resnet152v1_5_weights_tf_dim_ordering_tf_kernels.h5",
        "conv-block",
        METRABS,
        PADDED,
        BOTTLENECK,
    ),
    Release(
        "471a7a36f82f50879a64731f1615f2df",
        "resnet152v1_5_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "conv-block",
        METRABS,
        PADDED,
        BOTTLENECK,
    ),
)
"""Source: the hashes in those projects' own code (keras 1.1.0 and 3.15 applications, keras-
applications 1.0.8, image-classifiers 1.0.0 `weights.py`, metrabs d980306
`src/backbones/resnet.py`), and cnn_finetune's README."""


def as_released(
    checkpoint: Checkpoint,
    dialect: str,
    structure: Structure,
    facts: Sequence[Fact],
    defaults: Defaults,
) -> tuple[Structure, tuple[Fact, ...]]:
    """The network as the code of a release has it, where that is not the naming's own."""
    release = _release(checkpoint, dialect)
    if release is None or not release.sets:
        return structure, tuple(facts)
    architecture = changed(structure.architecture, dict(release.sets), defaults)
    reason = f"the file is {release.publisher}'s {release.name}, whose code says so"
    for name, _ in release.sets:
        facts = told(facts, BY_NAME[name], architecture, Evidence.RELEASE, reason)
    return replace(structure, architecture=architecture), restated(facts, architecture)


def of_release(checkpoint: Checkpoint, dialect: str, facts: Sequence[Fact]) -> tuple[Fact, ...]:
    """The facts, with what was a default told by the code of the release that the file is."""
    release = _release(checkpoint, dialect) if any(fact.is_default for fact in facts) else None
    if release is None:
        return tuple(facts)
    which = f"the file is {release.publisher}'s {release.name}"
    return tuple(
        replace(fact, evidence=Evidence.RELEASE, reason=f"{which}: {fact.reason}")
        if fact.is_default and fact.name not in release.left_open
        else fact
        for fact in facts
    )


def _release(checkpoint: Checkpoint, dialect: str) -> Release | None:
    """Only a file that could be one is read for its hash: published files are weights alone, in
    HDF5 with a list of layers."""
    candidates = [one for one in RELEASES if one.dialect == dialect]
    if not candidates or checkpoint.config is not None or not checkpoint.is_ordered:
        return None
    state = checkpoint.path.stat()
    found = _md5(checkpoint.path, state.st_size, state.st_mtime_ns)
    return next((one for one in candidates if one.md5 == found), None)


@cache
def _md5(path: Path, size: int, changed: int) -> str:
    """Of a file as it was then."""
    return digest(hashlib.md5(usedforsecurity=False), path)
