"""What a process that reads a stranger's file may use.

POSIX resource limits, set by the process itself, after its imports. Where a platform lacks one
(Windows all of them; macOS does not hold to the one on memory), the work is done all the same and
what is lacking is said.
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]


@dataclass(frozen=True, slots=True)
class Limits:
    """`memory` in bytes and `seconds` of processor time, beyond what the process has used when
    they are set; `written` bytes in any one file; `files` open at once."""

    memory: int
    seconds: int
    written: int = 0
    files: int = 256


def restrict(limits: Limits, room: Limits | None = None) -> tuple[str, ...]:
    """Hold this process to `limits`; `relax` can raise memory and seconds later, up to `room`.

    Returns what this platform cannot limit, in words.
    """
    if resource is None:
        return ("memory", "processor time", "open files")
    room = room or limits
    memory, seconds = _used_memory(), _used_seconds()
    wanted = (
        ("memory", "RLIMIT_AS", limits.memory + memory, room.memory + memory),
        ("processor time", "RLIMIT_CPU", limits.seconds + seconds, room.seconds + seconds),
        ("core files", "RLIMIT_CORE", 0, 0),
        ("open files", "RLIMIT_NOFILE", limits.files, limits.files),
        ("written files", "RLIMIT_FSIZE", limits.written, limits.written),
    )
    lacking = [what for what, name, soft, hard in wanted if not _set(name, soft, hard)]
    if sys.platform == "darwin" and "memory" not in lacking:
        lacking.append("memory")  # set, and not held to
    return tuple(lacking)


def relax(limits: Limits) -> None:
    """Raise memory and processor time, as far as `room` allowed."""
    if resource is not None:
        _set("RLIMIT_AS", limits.memory + _used_memory())
        _set("RLIMIT_CPU", limits.seconds + _used_seconds())


def _set(name: str, soft: int, hard: int | None = None) -> bool:
    """Set one limit, never above what this process is allowed already."""
    number = getattr(resource, name, None)
    if number is None:
        return False
    _, most = resource.getrlimit(number)
    hard = most if hard is None else hard
    if most != resource.RLIM_INFINITY:
        hard = most if hard == resource.RLIM_INFINITY else min(hard, most)
    soft = soft if hard == resource.RLIM_INFINITY else min(soft, hard)
    try:
        resource.setrlimit(number, (soft, hard))
    except (ValueError, OSError):
        return False
    return True


def _used_memory() -> int:
    """Bytes of address space; where the system does not tell, what numpy and h5py take."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return 2**30


def _used_seconds() -> int:
    return int(time.process_time()) + 1
