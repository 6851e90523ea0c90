"""What people give is sent as it was checked, or refused by name."""

import pytest

from turnout.errors import UsageError
from turnout.text.given import check_job_name, check_word


@pytest.mark.parametrize("text", ["a\n", " a", "a b", "a\t", "\u00a0a", "a\r\n"])
def test_a_word_with_spaces_or_line_ends_is_refused_by_name(text: str) -> None:
    with pytest.raises(UsageError, match=r"the address .* has spaces or line ends in it"):
        check_word("the address", text)


def test_a_secret_is_not_shown() -> None:
    with pytest.raises(UsageError) as refused:
        check_word("the token", "turnout_x\n", secret=True)
    assert "turnout_x" not in str(refused.value)


@pytest.mark.parametrize("name", ["digits", "a b", "Zürich, 2nd", "x" * 128])
def test_a_name_that_a_job_can_have_may_be_asked_for(name: str) -> None:
    check_job_name(name)


@pytest.mark.parametrize("name", ["digits\n", " digits", "digits ", "", "a\nb", "x" * 129])
def test_a_name_that_no_job_can_have_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="the job's name"):
        check_job_name(name)
