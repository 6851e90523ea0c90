"""One run on this machine from start to end: ``turnout run``, ``turnout demo`` and ``turnout.run``."""
