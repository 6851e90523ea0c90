"""The exit codes of the ``turnout`` command."""

EXIT_DONE = 0
EXIT_FAILED = 1  #: It could not be done; one line says why.
EXIT_USAGE = 2  #: The arguments or the job folder are wrong.
EXIT_NOT_COMPLETED = 3  #: The job ended without completing.
EXIT_INTERRUPTED = 130  #: Ctrl-C.
