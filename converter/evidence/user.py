"""What the user sets: each option beats the evidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from converter import facts as f
from converter.errors import UsageError
from converter.facts import Evidence, Fact
from converter.options import Options
from converter.structure import Structure
from resnet_pt.architecture import Architecture


def set_by_user(
    structure: Structure, facts: Sequence[Fact], options: Options
) -> tuple[Structure, tuple[Fact, ...]]:
    """Each option beats the evidence."""
    architecture, kept = structure.architecture, list(facts)

    def change(name: str, changed: Architecture, value: str, option: str) -> Architecture:
        kept[:] = [fact for fact in kept if fact.name != name]
        kept.append(Fact(name, value, Evidence.USER, option))
        return changed

    if options.bn_eps is not None:
        new = f.with_eps(architecture, options.bn_eps)
        architecture = change("epsilon", new, f.describe_eps(new), "--bn-eps")
    if options.stem is not None:
        new = f.with_stem(architecture, options.stem)
        architecture = change("stem", new, f.describe_stem(new), "--stem")
    if options.pool is not None and architecture.stem.pool is None:
        raise UsageError("--pool: this network has no pool in its stem")
    if options.pool is not None:
        new = f.with_pool(architecture, options.pool)
        architecture = change("pool", new, f.describe_pool(new), "--pool")
    if options.stride_on is not None:
        new = f.with_stride_on(architecture, options.stride_on)
        architecture = change("stride", new, f.describe_stride(new), "--stride-on")
    flat = any(layer.kind.startswith("flatten") for layer in architecture.head)
    if options.flatten is not None and not flat:
        raise UsageError("--flatten: this network has no Flatten")
    if options.flatten is not None:
        new = f.with_flatten(architecture, options.flatten)
        architecture = change("flatten", new, options.flatten, "--flatten")
    if options.head_activation is not None:
        new = with_head_activation(architecture, options.head_activation)
        if any(layer.kind == "activation" for layer in architecture.head):
            architecture = change("head", new, f.describe_head(new.head), "--head-activation")
        else:
            kept[:] = [_unaffected(fact) if fact.name == "head" else fact for fact in kept]
    if options.preprocess is not None:
        new = replace(architecture, preprocessing=options.preprocess)
        architecture = change("preprocessing", new, options.preprocess, "--preprocess")
    elif architecture.preprocessing and not any(fact.name == "preprocessing" for fact in kept):
        evidence, reason = _pictures(architecture)
        kept.append(Fact("preprocessing", architecture.preprocessing, evidence, reason))
    return replace(structure, architecture=architecture), tuple(kept)


def _unaffected(head: Fact) -> Fact:
    said = "no hidden Dense layer: --head-activation changes nothing"
    return replace(head, reason=f"{head.reason}; {said}")


def _pictures(architecture: Architecture) -> tuple[Evidence, str]:
    """How it is known what was done to pictures before the network."""
    if architecture.stem.rescaling or architecture.stem.channels:
        return Evidence.MODEL_CONFIG, "the network does to them itself what is to be done"
    if architecture.stem.data_norm:
        return Evidence.SHAPES, "the network normalises them itself"
    reason = "what the code of this naming does to pictures; not part of the network"
    return Evidence.DEFAULT, reason


def with_head_activation(architecture: Architecture, name: str) -> Architecture:
    """The same network with another activation behind its hidden Dense layers."""
    head = tuple(
        replace(layer, activation=name) if layer.kind == "activation" else layer
        for layer in architecture.head
    )
    return replace(architecture, head=head)
