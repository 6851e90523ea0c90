"""A job may be called by its name or the beginning of its id; a wrong name gets the nearest."""

import pytest

from tests.unit.cli.fakes import FakeClient, view
from turnout.cli.finding import find
from turnout.client.view import JobState
from turnout.errors import UsageError

DONE = JobState.COMPLETED


def test_an_id_names_its_job() -> None:
    client = FakeClient(view("digits-11aa"), view("digits-22bb"))
    assert find(client, "digits-22bb").job_id == "digits-22bb"


def test_the_beginning_of_an_id_is_enough_where_one_job_has_it() -> None:
    client = FakeClient(view("digits-11aa"), view("digits-22bb"))
    assert find(client, "digits-2").job_id == "digits-22bb"


def test_a_name_is_enough_where_one_job_has_it() -> None:
    client = FakeClient(view("digits-11aa"), view("keys-22bb", "keyboard"))
    assert find(client, "keyboard").job_id == "keys-22bb"


def test_of_several_jobs_of_a_name_the_only_one_that_runs_is_meant() -> None:
    client = FakeClient(view("digits-33cc", state=DONE), view("digits-22bb"), view("digits-11aa", state=DONE))
    assert find(client, "digits").job_id == "digits-22bb"


def test_where_several_are_meant_their_ids_are_named() -> None:
    client = FakeClient(view("digits-22bb"), view("digits-11aa"))
    with pytest.raises(UsageError, match=r'"digits" may be any of 2 jobs; give an id: digits-22bb, digits-11aa'):
        find(client, "digits")


@pytest.mark.parametrize("wanted", ["digits-11ab", "dgits", "Digits"])
def test_the_nearest_job_is_suggested(wanted: str) -> None:
    client = FakeClient(view("digits-11aa", state=DONE), view("digits-22bb", state=DONE), view("keys-33cc", "keys"))
    with pytest.raises(UsageError, match=r"no job .*; did you mean digits-11aa\?"):
        find(client, wanted)


def test_without_any_near_the_list_is_the_way_out() -> None:
    with pytest.raises(UsageError, match=r'^no job "zebra"; turnout jobs lists them$'):
        find(FakeClient(view("digits-11aa")), "zebra")
