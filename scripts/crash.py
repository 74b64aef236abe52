"""Kill conversions at random moments and let every step of the disk fail: nothing may be lost.

    python scripts/crash.py                  # in full: about a quarter of an hour
    python scripts/crash.py --short          # half a minute; part of the tests
    python scripts/crash.py --seed 7

`kill` sends SIGKILL at a random moment, over an older target and without one. `interrupt` does the
same with SIGINT, SIGTERM and SIGHUP. `fault` lets each open, write, fsync, link, replace and unlink
fail in turn, with ENOSPC, EIO, or by dying there. `race` runs two conversions to one target.
`logits` kills conversions that ask Keras, with every process that they started counted.

After each, the target is the old one or the complete new one (or not there, if it was not), byte
for byte. Drafts are left by SIGKILL alone, at most one, and where removing them is what fails; no
process outlives the one that was killed, and the next run removes what was left. The exit code is
the number of losses, at most 100.
"""

from __future__ import annotations

import argparse
import ctypes
import errno
import functools
import hashlib
import io
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

import converter.conversion  # noqa: E402, F401  imported once, for every fork
from converter.cli import convert_weights  # noqa: E402
from converter.files import publish  # noqa: E402
from converter.files.leftovers import work_folder  # noqa: E402

SOURCE = ROOT / "fixtures/keras-2.3.1-qubvel-18.h5"
OLD = b"an older target"
FULL = {"kill": 1000, "interrupt": 300, "fault": 100, "race": 20, "logits": 300}
SHORT = {"kill": 12, "interrupt": 6, "fault": 2, "race": 2, "logits": 2}


def run(
    target: Path,
    force: bool,
    before: Callable[[], object] = lambda: None,
    source: Path = SOURCE,
    options: tuple[str, ...] = ("--no-parity",),
) -> int:
    """Start a conversion in a fork, after `before` there; its process id."""
    pid = os.fork()
    if pid:
        return pid
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        before()
        forced = ["--force"] if force else []
        convert_weights([str(source), str(target), *options, *forced])
    except SystemExit as done:
        os._exit(done.code if isinstance(done.code, int) else 2)
    except BaseException:
        os._exit(99)
    os._exit(98)


def ended(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


class Campaign:
    """A folder with one target, looked at after every run."""

    def __init__(self, name: str, folder: Path, suffix: str) -> None:
        self.name, self.folder, self.target = name, folder, folder / f"out{suffix}"
        self.tally: Counter[str] = Counter()
        self.losses = 0
        assert ended(run(self.target, force=False)) == 0
        self.new = hashlib.sha256(self.target.read_bytes()).hexdigest()

    def prepare(self, old: bool) -> None:
        self.target.unlink(missing_ok=True)
        if old:
            self.target.write_bytes(OLD)

    def judge(
        self,
        code: int,
        old: bool,
        *,
        drafts: int,
        codes: tuple[int, ...],
        how: str,
        also: Sequence[str] = (),
    ) -> None:
        """Count what is there; a loss is anything else than old, new, or nothing where there was
        nothing, and what was found wrong already."""
        found = self.target.read_bytes() if self.target.exists() else None
        left = [path for path in self.folder.iterdir() if path != self.target]
        whole = found is not None and hashlib.sha256(found).hexdigest() == self.new
        state = "new" if whole else "old" if found == OLD and old else "none"
        wrong = [] if whole or (found == OLD and old) or (found is None and not old) else ["lost"]
        wrong += also
        wrong += [f"{len(left)} drafts"] if len(left) > drafts else []
        wrong += ["other files"] if any(not one.name.startswith(".out") for one in left) else []
        wrong += [f"exit code {code}"] if code not in codes else []
        wrong += ["done, and not written"] if code == 0 and not whole else []
        for path in left:
            path.unlink()
        self.tally[f"LOST ({', '.join(wrong)})" if wrong else f"{state}, code {code}"] += 1
        if wrong:
            self.losses += 1
            print(f"{self.name}: {how}: {', '.join(wrong)}", flush=True)


def kill(campaign: Campaign, cases: int, chance: random.Random) -> None:
    _signalled(campaign, cases, chance, (signal.SIGKILL,), drafts=1)


def interrupt(campaign: Campaign, cases: int, chance: random.Random) -> None:
    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    _signalled(campaign, cases, chance, signals, drafts=0)


def _signalled(
    campaign: Campaign, cases: int, chance: random.Random, signals: tuple[int, ...], drafts: int
) -> None:
    """A signal at a moment drawn from a little more than the time of a whole run."""
    began = time.monotonic()
    for _ in range(3):
        ended(run(campaign.target, force=True))
    whole = (time.monotonic() - began) / 3
    stopped: list[int] = []
    signal.signal(signal.SIGINT, lambda *_: stopped.append(1))  # Ctrl-C: report what was run
    for case in range(cases):
        if stopped:
            break
        old, number = bool(case % 2), signals[case % len(signals)]
        campaign.prepare(old)
        moment = chance.uniform(0.01 if drafts else 0.1 * whole, 1.2 * whole)
        pid = run(campaign.target, force=old)
        time.sleep(moment)
        os.kill(pid, number)
        codes = (0, -number, 128 + number)
        campaign.judge(ended(pid), old, drafts=drafts, codes=codes, how=f"{number} at {moment:.3f}")


CALLS = ("open", "write", "fsync", "link", "replace", "unlink")


def fault(campaign: Campaign, cases: int, chance: random.Random) -> None:
    """Every call of every kind, until one call more is not reached, or `cases` of each."""
    for call in CALLS:
        for error in ("ENOSPC", "EIO", "SIGKILL"):
            for nth in range(1, cases + 1):
                for old in (False, True) if cases > 2 else (bool(nth % 2),):
                    campaign.prepare(old)
                    reached = campaign.folder.parent / "reached"
                    reached.unlink(missing_ok=True)
                    broken = functools.partial(break_call, call, error, nth, reached)
                    code = ended(run(campaign.target, old, broken))
                    died = error == "SIGKILL" or call == "unlink"
                    codes = (0, 7, -signal.SIGKILL)
                    how = f"{error} at {call} {nth}"
                    campaign.judge(code, old, drafts=int(died), codes=codes, how=how)
                if not reached.exists():
                    break


def break_call(call: str, error: str, nth: int, reached: Path) -> None:
    """From here on, the nth call of its kind that publishes a target fails."""
    count = 0

    def fails() -> None:
        nonlocal count
        count += 1
        if count == nth:
            real_open(reached, os.O_CREAT | os.O_WRONLY)
            if error == "SIGKILL":
                os.kill(os.getpid(), signal.SIGKILL)
            raise OSError(getattr(errno, error), os.strerror(getattr(errno, error)))

    real_open = os.open
    if call == "write":

        class Failing(io.FileIO):
            def write(self, content: Any) -> int:
                fails()
                return super().write(content[: 1 << 16])

        def opened(handle: int, mode: str) -> Any:
            return io.BufferedWriter(Failing(handle, mode), buffer_size=1 << 12)

        publish.open = opened  # type: ignore[attr-defined]
        return
    real = getattr(os, call)

    def broken(*arguments: Any, **options: Any) -> Any:
        name = os.fspath(arguments[0]) if call == "open" else ".tmp-"
        if ".tmp-" in str(name):
            fails()
        return real(*arguments, **options)

    setattr(os, call, broken)


def race(campaign: Campaign, cases: int, chance: random.Random) -> None:
    """Two at once: with --force, both are done and one of them is the target."""
    for _ in range(cases):
        campaign.prepare(old=False)
        pids = [run(campaign.target, force=True) for _ in range(2)]
        for code in [ended(pid) for pid in pids]:
            campaign.judge(code, False, drafts=0, codes=(0,), how="two at once")


WHOLE_MODEL = ROOT / "fixtures/keras-2.2.4-tensorflow.h5"
PR_SET_CHILD_SUBREAPER = 36
"""Of prctl(2): a process whose parent ends becomes a child of this one, and is counted."""
GRACE = 5.0
"""Seconds within which every process has to end that a killed one started."""


def logits(campaign: Campaign, cases: int, chance: random.Random) -> None:
    """SIGKILL while Keras is started, or runs: no process is left, and of files a draft and a
    folder in TMPDIR at most, which the next run removes."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
    temporary = campaign.folder.parent / "temporary"
    temporary.mkdir()
    tempfile.tempdir = os.environ["TMPDIR"] = str(temporary)
    for case in range(cases):
        old = bool(case % 2)
        campaign.prepare(old)
        pid = run(campaign.target, old, source=WHOLE_MODEL, options=("--device", "cpu"))
        moment = chance.uniform(0.05, 12)
        time.sleep(moment)
        os.kill(pid, signal.SIGKILL)
        if ended(pid) == 0:  # done before, of another network than the campaign's
            campaign.prepare(old)
        left = outliving()
        wrong = [f"{left} processes"] if left else []
        wrong += ["more than a folder"] if len(list(temporary.iterdir())) > 1 else []
        wrong += [] if are_removed(campaign.target, temporary) else ["left by the next run"]
        for path in [*beside(campaign.target), *temporary.iterdir()]:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        how = f"{signal.SIGKILL} at {moment:.3f}"
        codes = (-signal.SIGKILL,)
        campaign.judge(codes[0], old, drafts=0, codes=codes, how=how, also=wrong)


def are_removed(target: Path, temporary: Path) -> bool:
    """Whether a run that begins now finds nothing but its own draft and folder."""
    pid = os.fork()
    if not pid:
        with publish.draft(target, force=True), work_folder():
            os._exit(len(list(temporary.iterdir())) + len(beside(target)) - 2)
    return ended(pid) == 0


def beside(target: Path) -> list[Path]:
    return [path for path in target.parent.iterdir() if path != target]


def outliving() -> int:
    """How many processes outlive one that was killed; they are killed then."""
    until = time.monotonic() + GRACE
    with suppress(ChildProcessError):  # there is none any more
        while time.monotonic() < until:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                time.sleep(0.05)
    some = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    for pid in some:
        os.kill(int(pid), signal.SIGKILL)
        os.waitpid(int(pid), 0)
    return len(some)


CAMPAIGNS = {"kill": kill, "interrupt": interrupt, "fault": fault, "race": race, "logits": logits}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--short", action="store_true", help="half a minute of all")
    parser.add_argument("--only", choices=CAMPAIGNS, help="one campaign")
    parser.add_argument("--cases", type=int, help="how many, instead of the full number")
    parser.add_argument("--suffix", choices=[".safetensors", ".pth"], default=".safetensors")
    options = parser.parse_args()
    losses = 0
    for name in [options.only] if options.only else list(CAMPAIGNS):
        cases = options.cases or (SHORT if options.short else FULL)[name]
        chance = random.Random(f"{options.seed} {name}")
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="crash-") as folder:
            (Path(folder) / "target").mkdir()
            campaign = Campaign(name, Path(folder) / "target", options.suffix)
            CAMPAIGNS[name](campaign, cases, chance)
        counts = ", ".join(f"{count} {what}" for what, count in campaign.tally.most_common())
        seconds = time.monotonic() - began
        print(f"{name}: {counts}; {campaign.losses} losses (seed {options.seed}, {seconds:.0f} s)")
        losses += campaign.losses
    return min(losses, 100)


if __name__ == "__main__":
    sys.exit(main())
