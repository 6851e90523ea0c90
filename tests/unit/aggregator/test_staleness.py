"""The discounts, by the sentences of FedAsync (Xie et al. 2019, arXiv:1903.03934, section 5.2)."""

from hypothesis import given
from hypothesis import strategies as st

from turnout.aggregator.staleness import constant, flare, hinge, polynomial


def test_constant_s_is_1() -> None:
    """s(t - tau) = 1."""
    assert [constant(s) for s in (0, 1, 100)] == [1, 1, 1]


def test_polynomial_s_is_the_age_plus_one_to_the_power_of_minus_a() -> None:
    """s_a(t - tau) = (t - tau + 1) ** -a."""
    assert [polynomial(s, 0.5) for s in (0, 3, 8)] == [1, 1 / 2, 1 / 3]
    assert polynomial(4, 1.0) == 0.2


def test_hinge_s_is_1_up_to_b_then_falls_with_a() -> None:
    """s_{a,b}(t - tau) = 1 if t - tau <= b, else 1 / (a * (t - tau - b) + 1)."""
    assert [hinge(s, 10, 4) for s in (0, 4, 5, 6)] == [1, 1, 1 / 11, 1 / 21]


def test_flare_s_is_a_half_when_fresh_and_a_third_at_age_three() -> None:
    """1 / (1 + sqrt(s + 1)); tests/flare holds it against FLARE's own code."""
    assert [flare(s) for s in (0, 3, 8)] == [1 / 2, 1 / 3, 1 / 4]


@given(st.integers(0, 1000), st.floats(0.01, 10), st.floats(0, 20))
def test_every_discount_of_the_paper_is_1_when_fresh_and_never_grows_with_age(age: int, a: float, b: float) -> None:
    """The paper asks of s that it is 1 when t = tau, and falls monotonically as t - tau grows."""
    for discount in (constant, lambda s: polynomial(s, a), lambda s: hinge(s, a, b)):
        assert discount(0) == 1
        assert 0 < discount(age + 1) <= discount(age) <= 1
