"""The first process of a container: the system hands it every process whose parent has ended, to be reaped.

The children of a server have children of their own (workers, hooks). When one is killed, its children end too, and stay
as zombies unless the first process waits for them. So the first process does only that, and passes signals on; the
command runs in its child, which waits for none but its own.
"""

import os
import signal
import sys

#: Sent by the system about the process itself, or to stop it: they are not passed on.
_OWN = {
    *("SIGABRT", "SIGBUS", "SIGFPE", "SIGILL", "SIGSEGV", "SIGSYS", "SIGTRAP"),
    *("SIGKILL", "SIGSTOP", "SIGTSTP", "SIGTTIN", "SIGTTOU"),
}


def go_on_in_child() -> None:
    """For the first process: look after all others until our child ends. Only the child returns."""
    passed_on = {number for number in signal.valid_signals() if number not in _numbers(_OWN)}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, passed_on)
    child = os.fork()
    if child == 0:
        _come_to_the_foreground()
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return
    os._exit(look_after(child, passed_on))


def look_after(child: int, passed_on: set[signal.Signals]) -> int:
    """Reap what ends and pass on the signals given, which must be blocked, until ``child`` ends; its exit code."""
    while True:
        number = signal.sigwait(passed_on)
        if number != signal.SIGCHLD:
            os.kill(child, number)
            continue
        ended = reap()
        if child in ended:
            code = os.waitstatus_to_exitcode(ended[child])
            return code if code >= 0 else 128 - code  # as shells say it


def reap() -> dict[int, int]:
    """Wait for all children that have ended, ours or handed to us; the status of each by its pid."""
    ended: dict[int, int] = {}
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return ended
        if pid == 0:
            return ended
        ended[pid] = status


def _come_to_the_foreground() -> None:
    """Have Ctrl-C of a terminal reach this process and not the first one too, which would pass it on a second time."""
    try:
        os.setpgid(0, 0)
        if sys.stdin.isatty():
            before = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
            os.tcsetpgrp(sys.stdin.fileno(), os.getpgrp())
            signal.signal(signal.SIGTTOU, before)
    except OSError:  # a terminal that is not ours to take
        pass


def _numbers(names: set[str]) -> set[int]:
    return {getattr(signal, name) for name in names if hasattr(signal, name)}
