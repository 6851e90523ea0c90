"""What an update still counts that was trained from an old model version.

The three functions of FedAsync (Xie et al. 2019, arXiv:1903.03934, section 5.2), of staleness ``s = t - tau`` in model
versions, s >= 0. Each is 1 at s = 0 and never grows with s. FedBuff (arXiv:2106.06639) uses the polynomial with 1/2.
"""


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
