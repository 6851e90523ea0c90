"""How the process of a job ends: the one table of its exit codes, which the supervisor reads. Any other is a crash."""

EXIT_COMPLETED = 0  #: The job reached its stop rule.
EXIT_CANCELLED = 3  #: A person ended it before that.
EXIT_FAILED = 4  #: Neither this process nor the next one can run it: its journal is damaged, or of another model.
EXIT_NOT_OURS = 5  #: Another process runs the job.
EXIT_NOT_NOW = 6  #: The disk, or something else of the machine, does not allow it now. The last line says why.
EXIT_STOPPED = 143  #: Asked to end by SIGTERM, or because the supervisor is gone; the job is not over.
