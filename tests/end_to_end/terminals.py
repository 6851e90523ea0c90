"""Types what a page tells its reader to type, in as many terminals as it names, and reads what it promises.

A page says ``**Terminal 2**`` before the blocks that are typed there. An ``sh`` block is typed; the ``text`` block
after it is what must then be seen, line after line, where ``…`` stands for anything. ``**Ctrl-C in terminal 1**`` is
pressed.

    python -m tests.end_to_end.terminals PAGE FOLDER
"""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Self

PATIENCE_S = 180.0  #: Ends a test that would hang; the longest step is an installation.
_PART = re.compile(
    r"\*\*Ctrl-C in terminal (?P<pressed>\d)\*\*|\*\*[Tt]erminal (?P<terminal>\d)\*\*|terminal (?P<named>\d)"
    r"|^```(?P<kind>\w+)\n(?P<text>.*?)^```",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Typed:
    """Lines for a terminal."""

    terminal: str
    text: str


@dataclass(frozen=True, slots=True)
class Promised:
    """What that terminal shows from then on."""

    terminal: str
    text: str


@dataclass(frozen=True, slots=True)
class Pressed:
    """Ctrl-C."""

    terminal: str


def steps(page: str) -> Iterator[Typed | Promised | Pressed]:
    """What a reader of the page does and sees. A terminal named without stars is one to look at."""
    typing = looking = ""
    for part in _PART.finditer(page):
        if part["pressed"]:
            looking = part["pressed"]
            yield Pressed(looking)
        elif part["terminal"]:
            typing = looking = part["terminal"]
        elif part["named"]:
            looking = part["named"]
        elif part["kind"] == "sh":
            looking = typing
            yield Typed(typing, part["text"])
        elif part["kind"] == "text":
            yield Promised(looking, part["text"])


class Terminal:
    """A shell that is typed into."""

    def __init__(self, cwd: Path) -> None:
        self._shell = subprocess.Popen(
            ["bash", "--norc", "-s"],
            cwd=cwd,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            process_group=0,
        )
        self._shown = ""
        self._read_to = 0
        self._typed = 0
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._shell.stdin is not None
        self._shell.stdin.close()  # the shell ends once what runs in it has ended
        for each in (signal.SIGINT, signal.SIGKILL):
            if self._reader.is_alive():
                try:
                    os.killpg(self._shell.pid, each)
                except ProcessLookupError:
                    pass
                self._reader.join(PATIENCE_S)
        self._shell.wait(PATIENCE_S)

    def type(self, text: str) -> None:
        """Type, once all that was typed before has been done."""
        assert self._shell.stdin is not None
        self.wait_done()
        self._read_to = len(self._shown)
        self._typed += 1
        self._shell.stdin.write(f"{text}code=$?; echo; echo DONE {self._typed} $code\n")
        self._shell.stdin.flush()

    def wait_done(self) -> None:
        """Until what was typed has been done, and went well."""
        if self._typed:
            done = self._wait(re.compile(f"^DONE {self._typed} (?P<code>\\d+)$", re.MULTILINE))
            assert done is not None, f"still running:\n{self.unread}"
            assert done["code"] == "0", f"exit code {done['code']}:\n{self.unread}"

    def wait_shown(self, line: str) -> None:
        """Until a line is shown that looks like this, below the last that was waited for."""
        found = self._wait(re.compile(f"^{'.*'.join(map(re.escape, line.split('…')))}$", re.MULTILINE))
        assert found is not None, f"never shown: {line!r}; but:\n{self.unread}"
        self._read_to = found.end()

    def press_ctrl_c(self) -> None:
        """As the terminal does, to all that runs in it."""
        os.killpg(self._shell.pid, signal.SIGINT)

    @property
    def unread(self) -> str:
        """What was shown since."""
        return self._shown[self._read_to :]

    def _wait(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        give_up_at = time.monotonic() + PATIENCE_S
        with self._news:
            while not (found := pattern.search(self._shown, self._read_to)):
                if not self._news.wait(give_up_at - time.monotonic()):
                    return None
            return found

    def _read(self) -> None:
        assert self._shell.stdout is not None
        with self._shell.stdout as shown:
            for line in shown:
                with self._news:
                    self._shown += line
                    self._news.notify_all()


def follow(page: str, folder: Path) -> None:
    """Do what the page says, in the folder. Raises AssertionError when something else is seen than it promises."""
    terminals: dict[str, Terminal] = {}
    with ExitStack() as opened:
        for step in steps(page):
            if step.terminal not in terminals:
                terminals[step.terminal] = opened.enter_context(Terminal(folder))
            terminal = terminals[step.terminal]
            match step:
                case Typed():
                    terminal.type(step.text)
                case Promised():
                    for line in step.text.splitlines():
                        terminal.wait_shown(line)
                case Pressed():
                    terminal.press_ctrl_c()


if __name__ == "__main__":
    follow(Path(sys.argv[1]).read_text(), Path(sys.argv[2]))
