"""What a server of turnout costs and how fast it is, beside other servers on the same machine: ``python -m bench``.

``servers`` starts them, ``traffic`` is what devices send, ``load`` and ``clients`` send it, ``table`` says what came of
it. ``durability`` compares servers with journals on disk and in memory. ``hop`` is a benchmark of its own, of the way
from gateway to job alone.
"""

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")  # read when numpy is imported; our processes have one thread for sums, too
