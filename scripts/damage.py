"""What the campaigns of `fuzz.py` share: their tally, damage, and processes by fork."""

from __future__ import annotations

import io
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from converter.cli import convert_weights  # noqa: E402
from converter.files.isolation import child  # noqa: E402

HANG = 12.0
"""Seconds of processor time, for any case: the reader's own limits come before it."""
STUCK = 120.0
"""Seconds after which a case is killed, and counts as a hang."""
MEMORY = {"reader": 256 * 2**20, "command": 512 * 2**20}
USUAL = 10**9
"""Bytes that a case's process may take at most (where torch is imported, it is most of it)."""


@dataclass
class Campaign:
    """The tally of one campaign; a case that fails is kept."""

    name: str
    keep: Path
    tally: Counter[str] = field(default_factory=Counter)
    failures: int = 0
    slowest: float = 0.0
    most: int = 0

    def note(self, outcome: str, content: bytes, label: str, seconds: float, memory: int) -> None:
        self.slowest, self.most = max(self.slowest, seconds), max(self.most, memory)
        if seconds > HANG:
            outcome = f"FAILED: {seconds:.0f} s"
        elif memory > MEMORY.get(self.name, USUAL):
            outcome = f"FAILED: {memory:,} bytes"
        self.tally[outcome if outcome.startswith("FAILED") else outcome.split(":")[0]] += 1
        if outcome.startswith("FAILED"):
            self.failures += 1
            self.keep.mkdir(parents=True, exist_ok=True)
            (self.keep / f"{self.name}-{label}").write_bytes(content)
            print(f"{self.name}-{label}: {outcome}", flush=True)

    def __str__(self) -> str:
        counts = ", ".join(f"{count} {what}" for what, count in self.tally.most_common())
        return (
            f"{self.name}: {sum(self.tally.values())} cases: {counts}; slowest "
            f"{self.slowest:.1f} s, at most {self.most / 2**20:.0f} MiB; {self.failures} failures"
        )


def damaged(content: bytes, chance: random.Random, spared: list[tuple[int, int]]) -> bytes:
    """One random fault: bits, a length or address, a run of bytes, a cut, a splice. Offsets within
    `spared`, the arrays' own numbers, are mostly avoided: there is no structure to break."""

    def offset() -> int:
        at = chance.randrange(len(content))
        for _ in range(20):
            if not any(start <= at < end for start, end in spared):
                break
            at = chance.randrange(len(content))
        return at

    new = bytearray(content)
    kind = chance.choices(
        ["bit", "byte", "number", "run", "cut", "splice"], [20, 20, 20, 15, 5, 5]
    )[0]
    if kind == "bit":
        for _ in range(chance.choice((1, 1, 2, 8))):
            new[offset()] ^= 1 << chance.randrange(8)
    elif kind == "byte":
        new[offset()] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)))
    elif kind == "number":
        width, at = chance.choice((2, 4, 8)), offset()
        value = chance.choice((0, 1, 2**31, 2**63 - 1, 2**64 - 1, chance.randrange(len(content))))
        new[at : at + width] = (value % 2 ** (8 * width)).to_bytes(width, "little")
    elif kind == "run":
        at, length = offset(), chance.randint(2, 16)
        new[at : at + length] = chance.randbytes(length)
    elif kind == "cut":
        del new[chance.randrange(len(new)) :]
    else:
        at, other = offset(), offset()
        length = chance.randint(1, 512)
        new[at : at + length] = content[other : other + length]
    return bytes(new)


class Forked:
    """A reader's process by fork: everything is imported already. Looks like a Popen."""

    def __init__(self) -> None:
        theirs, ours = os.pipe()
        back, their_back = os.pipe()
        self.returncode: int | None = None
        self.memory, self.seconds = 0, 0.0
        self.pid = os.fork()
        if not self.pid:
            os.close(ours), os.close(back)
            self._serve(theirs, their_back)
        os.close(theirs), os.close(their_back)
        self.stdin = os.fdopen(ours, "wb", buffering=0)
        self.stdout = os.fdopen(back, "rb", buffering=0)

    def _serve(self, requests: int, answers: int) -> None:
        try:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            child.work(os.fdopen(requests, "rb"), os.fdopen(answers, "wb", buffering=0))
            os._exit(0)
        except BaseException:
            os._exit(99)

    def kill(self) -> None:
        if self.returncode is None:
            os.kill(self.pid, signal.SIGKILL)

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            if timeout is not None:
                end = time.monotonic() + timeout
                while os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                    if time.monotonic() > end:
                        raise subprocess.TimeoutExpired("reader", timeout)
                    time.sleep(0.01)
            _, status, used = os.wait4(self.pid, 0)
            self.returncode = os.waitstatus_to_exitcode(status)
            self.memory, self.seconds = used.ru_maxrss * 1024, used.ru_utime + used.ru_stime
        return self.returncode


def apart(work: Callable[[], Any]) -> tuple[Any, float, int]:
    """What `work` returns, done in a fork (in words, how that ended), its processor time and its
    memory."""
    back, there = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(back)
        try:
            signal.alarm(0)
            with os.fdopen(there, "wb") as answer:
                answer.write(json.dumps(work()).encode())
            os._exit(0)
        except BaseException as error:
            os.write(2, f"{type(error).__name__}: {error}\n".encode()[:300])
            os._exit(99)
    os.close(there)
    signal.signal(signal.SIGALRM, lambda *_: os.kill(pid, signal.SIGKILL))
    signal.setitimer(signal.ITIMER_REAL, STUCK)
    with os.fdopen(back, "rb") as answer:
        content = answer.read()
    _, status, used = os.wait4(pid, 0)
    signal.setitimer(signal.ITIMER_REAL, 0)
    code = os.waitstatus_to_exitcode(status)
    result = json.loads(content) if code == 0 else f"ended with {code}"
    return result, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024


def counted(cases: int) -> Iterator[int]:
    """The cases' numbers; Ctrl-C ends them, and what was run until then is reported."""
    stopped: list[int] = []
    signal.signal(signal.SIGINT, lambda number, frame: stopped.append(number))
    for number in range(cases):
        if stopped:
            return
        yield number


def command(program: Callable[..., Any], arguments: list[str]) -> tuple[int, str]:
    """(exit code, what it told) of a command."""
    told = io.StringIO()
    with redirect_stderr(told), redirect_stdout(io.StringIO()):
        try:
            program(arguments)
        except SystemExit as done:
            return (done.code if isinstance(done.code, int) else 2), told.getvalue()
    return 98, told.getvalue()


def converting(arguments: list[str]) -> tuple[int, str]:
    return command(convert_weights, arguments)
