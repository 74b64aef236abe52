"""The comparison over a data set: batch by batch, continued where it was, spread over processes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch.utils.data import DataLoader

from converter.dataset.pictures import Batch, Batches, Size, Transform, fingerprint
from converter.dataset.predict import Predict
from converter.dataset.results import (
    DatasetComparison,
    Kind,
    Predictions,
    compare_predictions,
    summarise,
)
from converter.dataset.spread import Group
from converter.dataset.state import Done, State
from converter.errors import ParityError, SourceError, UsageError
from resnet_pt.pictures import CHANNELS

FORMAT = 1
"""Version of a state."""

Convert = Callable[[Batch], Predictions]
Progress = Callable[[int, int], None]
"""Told how many pictures of this process's share are done, and how many there are."""


def compare_dataset(
    folder: Path,
    names: Sequence[str],
    original: Predict,
    converted: Convert,
    *,
    size: Size,
    channels: int = 3,
    transform: Transform,
    of: Kind = "logits",
    batch_size: int = 32,
    workers: int = 0,
    state: Path | None = None,
    identity: Mapping[str, str | None],
    group: Group = Group(),  # noqa: B008 - it cannot be changed
    progress: Progress = lambda done, total: None,
) -> DatasetComparison:
    """Hold what `converted` predicts for each picture against what `original` does.

    `names` are the folder's pictures (`find_pictures`), `size` is (height, width), `transform`
    makes of RGB from 0 to 255 what the network receives; `workers` processes load pictures.
    With a `state` folder a run that was ended goes on where it was; `identity` says whose run it
    is (hashes of both models, the transform), and another one's state is refused.

    Batch k is the same pictures on every run, and is done by one process of the `group`, so that
    every figure is the same as of a single process. Every process returns it.

    Raises UsageError, SourceError (no pictures; a damaged state), TargetError (a state that cannot
    be written), ParityError (the two do not predict the same classes).
    """
    if channels not in CHANNELS:
        raise UsageError(f"the network takes {channels} channels: that is no picture")
    batches = Batches(folder, tuple(names), batch_size, size, channels, transform)
    run = {
        "format": FORMAT,
        "of": of,
        "pictures": fingerprint(folder, batches.names),
        "batch_size": batch_size,
        "size": list(size),
        **identity,
    }
    kept = State(state, run, group.rank)
    try:
        # All have read before any writes: share() waits for all.
        done = merged(group.share(kept.read()))
        refuse_other_pictures(done, batches)
        missing = [number for number in range(len(batches)) if number not in done]
        mine = missing[group.rank :: group.size]
        found: dict[int, Done] = {}
        total = sum(len(batches.indexes(number)) for number in mine)
        count = 0
        for batch in load(batches, mine, workers):
            found[batch.number] = compare_batch(batch, original, converted)
            kept.add(found[batch.number])
            count += len(batches.indexes(batch.number))
            progress(count, total)
        done |= merged(group.share(found))
    finally:
        kept.close()
    results = [one for batch in done.values() for one in batch.results]
    unreadable = {index: why for one in done.values() for index, why in one.unreadable.items()}
    return summarise(of, batches.names, results, unreadable)


def refuse_other_pictures(done: Mapping[int, Done], batches: Batches) -> None:
    """SourceError unless each batch of a state holds a word on each of its pictures, and no other:
    one that is not there would be in no figure."""
    for number, one in done.items():
        told = sorted([*(result.index for result in one.results), *one.unreadable])
        if told != list(batches.indexes(number)):
            raise SourceError(
                f"the state is damaged: batch {number} is not of its pictures",
                hints=["remove its folder to start anew"],
            )


def load(batches: Batches, numbers: Sequence[int], workers: int) -> DataLoader[Batch]:
    """The batches `numbers`, in order."""
    return DataLoader(
        batches, batch_size=None, sampler=numbers, num_workers=workers, collate_fn=as_it_is
    )


def as_it_is(batch: Any) -> Any:
    """Batches are made already."""
    return batch


def compare_batch(batch: Batch, original: Predict, converted: Convert) -> Done:
    if not batch.indexes:
        return Done(batch.number, (), batch.unreadable)
    try:
        results = compare_predictions(batch.indexes, converted(batch), original(batch))
    except ValueError as error:
        raise ParityError(str(error)) from error
    return Done(batch.number, results, batch.unreadable)


def merged(parts: Sequence[Mapping[int, Done]]) -> dict[int, Done]:
    """What is done by any; a batch that two have done is the same in both."""
    return {number: done for part in parts for number, done in part.items()}
