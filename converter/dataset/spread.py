"""One run in many processes: what `torchrun` started, and how they tell each other.

Only results travel, a few numbers for each picture: gloo carries them, on machines with GPUs too.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

from converter.errors import UsageError

T = TypeVar("T")

PATIENCE = timedelta(days=7)
"""How long a process waits for the others, whose share may take longer. One that dies does not
keep them: torchrun ends them all."""


@dataclass(frozen=True, slots=True)
class Group:
    """The processes of a run; by default this one alone."""

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process is the one that speaks."""
        return self.rank == 0

    def share(self, mine: T) -> list[T]:
        """What every process gave, in the order of ranks; comes back when all are here."""
        if self.size == 1:
            return [mine]
        import torch.distributed as dist

        found: list[Any] = [None] * self.size
        dist.all_gather_object(found, mine)
        return found


@contextmanager
def processes() -> Iterator[Group]:
    """The group that torchrun made of this process, by its environment; alone without one."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Group()
        return
    import torch.distributed as dist

    dist.init_process_group("gloo", timeout=PATIENCE)
    try:
        yield Group(dist.get_rank(), dist.get_world_size())
    finally:
        dist.destroy_process_group()


def device(wanted: str) -> str:
    """Where this process runs the converted network ('auto': an accelerator that is there); of
    several GPUs each process of a machine takes its own. UsageError for what is not there."""
    import torch

    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if wanted == "auto":
        wanted = next((name for name, is_there in there.items() if is_there), "cpu")
    if wanted != "cpu" and not there.get(wanted):
        raise UsageError(f"--device {wanted}: torch finds no such device here")
    if wanted != "cuda":
        return wanted
    return f"cuda:{int(os.environ.get('LOCAL_RANK', '0')) % torch.cuda.device_count()}"
