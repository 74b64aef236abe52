"""Whole processes, measured from outside and taken in turns."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

Command = list[str]


@dataclass(frozen=True)
class Run:
    """One process: seconds by the clock, and MiB of the largest process of its tree that was waited
    for (rusage of wait4, which on Linux counts waited-for children in)."""

    seconds: float
    memory: float


@dataclass(frozen=True)
class Failed:
    """What a process said last before it failed."""

    reason: str


LAUNCHER = """
import json, os, sys, time
start = time.perf_counter()
pid = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)
_, status, usage = os.wait4(pid, 0)
print(json.dumps([time.perf_counter() - start, usage.ru_maxrss, status]), file=sys.__stderr__)
"""
"""Starts a process and waits for it. Linux counts into a process' peak what its parent held when it
started it; this one holds nothing, a benchmark that has made its files holds hundreds of MiB."""


def run(command: Command, expected: int = 0) -> Run | Failed:
    """Start a process, wait for its end, and measure it."""
    launcher = [sys.executable, "-I", "-S", "-c", LAUNCHER, *command]
    done = subprocess.run(
        launcher, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=True, errors="replace"
    )
    *lines, measured = done.stdout.strip().splitlines()
    seconds, memory, status = json.loads(measured)
    if os.waitstatus_to_exitcode(status) != expected:
        return Failed((lines or ["no word"])[-1][:120])
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return Run(seconds, memory / unit)


def in_turns(commands: Mapping[str, Command], runs: int, expected: int) -> dict[str, Run | Failed]:
    """Medians of `runs` runs of each; one that fails is not run again. Before each run what is
    still to be written is written, so that nobody pays for another's disk."""
    found: dict[str, list[Run]] = {name: [] for name in commands}
    failed: dict[str, Run | Failed] = {}
    for _ in range(runs):
        for name, command in commands.items():
            if name in failed:
                continue
            os.sync()
            one = run(command, expected if name == "ours" else 0)
            if isinstance(one, Failed):
                failed[name] = one
            else:
                found[name].append(one)
    return {name: failed.get(name) or median(found[name]) for name in commands}


def median(runs: Sequence[Run]) -> Run:
    return Run(
        statistics.median(one.seconds for one in runs),
        statistics.median(one.memory for one in runs),
    )


def python(*arguments: str | Path) -> list[str]:
    return [sys.executable, *map(str, arguments)]
