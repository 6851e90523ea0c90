"""How the process of a job ends: the one table of its exit codes, which the supervisor reads. Any other is a crash."""

EXIT_COMPLETED = 0  #: The job reached its stop rule.
EXIT_ABORTED = 3  #: It ended without reaching it; it has written down why.
EXIT_CANNOT_GO_ON = 4  #: Nor could the next process: the journal is damaged, or not for this program.
EXIT_NOT_OURS = 5  #: Another process runs the job.
EXIT_NOT_NOW = 6  #: The disk, or something else of the machine, does not allow it now. The last line says why.
EXIT_STOPPED = 143  #: Asked to end by SIGTERM, or because the supervisor is gone; the job is not over.
