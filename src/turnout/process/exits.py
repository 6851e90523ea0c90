"""The exit codes of the ``turnout`` command, and what each means: the one place where that is written."""

EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_NOT_COMPLETED = 3
EXIT_INTERRUPTED = 130

MEANINGS = {
    EXIT_DONE: "done",
    EXIT_FAILED: "failed",
    EXIT_USAGE: "wrong arguments or job folder",
    EXIT_NOT_COMPLETED: "job not completed",
    EXIT_INTERRUPTED: "Ctrl-C",
}
