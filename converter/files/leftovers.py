"""What a run leaves that was killed: a draft beside its target, a folder in TMPDIR.

Their names say whose they are, `PREFIX<process>-<random>`, and the process holds a lock on them
(flock), which the system lets go of when it ends. The next run removes those whose process is gone
and whose lock is free: a folder may be shared by machines, on which the process cannot be seen.
"""

from __future__ import annotations

import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: nothing is swept
    fcntl = None  # type: ignore[assignment]

FOLDER = "convert-weights-"
"""The prefix of folders in TMPDIR."""

ASIDE = ".old"
"""The suffix of a target's directory that was moved aside for a new one."""


def own_name(prefix: str) -> str:
    """A new name that says that it is this process's."""
    return f"{prefix}{os.getpid()}-{secrets.token_hex(4)}"


def hold(path: Path) -> int | None:
    """A lock on a file or folder of this process, until the number that comes back is closed; None
    where the system has no such locks, or somebody else holds it."""
    if fcntl is None:
        return None
    handle = -1
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        if handle >= 0:
            os.close(handle)
        return None
    return handle


def let_go(handle: int | None) -> None:
    if handle is not None:
        os.close(handle)


def sweep(folder: Path, prefix: str, *, is_replaced: bool = False) -> None:
    """Remove what ended processes left in `folder` under names with `prefix`; what cannot be
    removed stays. What was moved aside for a new directory goes too where that
    is there (`is_replaced`); else it is the only one."""
    if fcntl is None:
        return
    with suppress(OSError):
        for name in os.listdir(folder):
            rest = name.removeprefix(prefix)
            rest = rest.removesuffix(ASIDE) if is_replaced else rest
            if name.startswith(prefix) and _is_orphan(rest):
                _remove(folder / name)


def _is_orphan(rest: str) -> bool:
    """Whether a name ends as `own_name` ends it, and its process is gone."""
    number, _, random = rest.partition("-")
    is_ours = number.isascii() and number.isdecimal() and len(number) < 10 and len(random) == 8
    if not is_ours or not random.isalnum():
        return False
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False


def _remove(path: Path) -> None:
    status = path.lstat()
    if status.st_uid != os.getuid():
        return
    lock = hold(path)
    if lock is None:
        return
    try:
        if stat.S_ISDIR(status.st_mode):
            shutil.rmtree(path, ignore_errors=True)
        elif stat.S_ISREG(status.st_mode):
            path.unlink(missing_ok=True)
    finally:
        let_go(lock)


class WorkFolder:
    """A folder in TMPDIR, for as long as its process lives, or until `remove`."""

    def __init__(self) -> None:
        parent = Path(tempfile.gettempdir())
        sweep(parent, FOLDER)
        self.path = parent / own_name(FOLDER)
        self.path.mkdir(mode=0o700)
        self.lock = hold(self.path)

    def remove(self) -> None:
        """Where an open file cannot be removed (Windows), it is left to the system."""
        let_go(self.lock)
        self.lock = None
        shutil.rmtree(self.path, ignore_errors=True)


@contextmanager
def work_folder() -> Iterator[Path]:
    """A `WorkFolder` that is removed with the context."""
    folder = WorkFolder()
    try:
        yield folder.path
    finally:
        folder.remove()
