"""What an update still counts that was trained from an old model version.

Three are the functions of FedAsync (Xie et al. 2019, arXiv:1903.03934, section 5.2), of staleness ``s = t - tau`` in
model versions, s >= 0: each is 1 at s = 0 and never grows with s. FedBuff (arXiv:2106.06639) uses the polynomial with
1/2. The fourth is what NVIDIA FLARE does, which halves fresh updates too.
"""

import math


def constant(staleness: int) -> float:
    """``s(t - tau) = 1``: age does not matter."""
    assert staleness >= 0
    return 1.0


def polynomial(staleness: int, exponent: float) -> float:
    """``s_a(t - tau) = (t - tau + 1) ** -a``; ``exponent`` is a >= 0."""
    assert staleness >= 0
    return float((1 + staleness) ** -exponent)


def hinge(staleness: int, a: float, b: float) -> float:
    """``s_{a,b}(t - tau)`` is 1 while ``t - tau <= b``, and ``1 / (a * (t - tau - b) + 1)`` beyond."""
    assert staleness >= 0
    return 1.0 if staleness <= b else 1.0 / (a * (staleness - b) + 1.0)


def flare(staleness: int) -> float:
    """``1 / (1 + sqrt(s + 1))``, as FLARE's ``staleness_weight``: 1/2 at s = 0, for FLARE counts the version first."""
    assert staleness >= 0
    return 1.0 / (1.0 + math.sqrt(staleness + 1))
