"""That the configuration of a file of weights was given, and how its layers got their weights."""

from __future__ import annotations

from converter.facts.fact import Evidence, Fact
from converter.files.checkpoint import Checkpoint


def given_facts(checkpoint: Checkpoint) -> tuple[Fact, ...]:
    """Where the configuration is from, and what pairs it with the file; () where it was not
    given."""
    given = checkpoint.given
    if given is None:
        return ()
    evidence = Evidence.RECORD if given.option == "--against" else Evidence.USER
    reason = f"{given} (sha256 {given.sha256[:16]}…); the file itself holds weights alone"
    return (
        Fact("configuration", "given", evidence, reason),
        Fact("weights", f"by the {checkpoint.match} of the layers", *_paired(checkpoint)),
    )


def _paired(checkpoint: Checkpoint) -> tuple[Evidence, str]:
    count = len(checkpoint.of_layer())
    if checkpoint.given and checkpoint.given.match:
        return Evidence.USER, f"--match {checkpoint.match}, for {count} layers"
    if checkpoint.match == "names":
        return Evidence.LAYER_NAMES, f"{count} layers have the configuration's names in the file"
    how = "one after the other" if checkpoint.is_ordered else "by class and number"
    return Evidence.SHAPES, (
        f"{count} layers with weights, {how}, as Keras' load_weights takes them; their names are "
        "others than the configuration's, their arrays and shapes the same"
    )
