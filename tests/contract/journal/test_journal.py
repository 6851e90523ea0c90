"""What every journal promises, of every section and every table that a job has."""

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import pytest

from tests.contract.journal.conftest import BYTES_MAX, World
from tests.unit.job.journal.snapshots import VERSIONS, assert_same, said_of, snapshot, versions, whole
from turnout.aggregator.mean import TOTAL, SavedSum
from turnout.aggregator.typical import Norms
from turnout.blobs.base import BlobRef
from turnout.job.account.groups import Counts, SavedGroups
from turnout.job.account.tally import SavedTally
from turnout.job.account.warnings import SavedWarnings
from turnout.job.journal.form import SECTIONS, TABLES
from turnout.job.journal.journal import MODEL, Fenced, Journal, SavedJob, SavedRandom
from turnout.job.places.counted import COUNTED
from turnout.job.places.fleets import SavedFleets
from turnout.job.places.leases import LEASES, Lease
from turnout.job.places.pacing import SavedPacing
from turnout.job.places.places import TAKEN, SavedPlaces
from turnout.job.places.rows import Rows, Table
from turnout.job.workflow.bases import SavedBases
from turnout.job.workflow.evaluation import SavedEvaluation
from turnout.job.workflow.federated import SavedFederated, Sum
from turnout.job.workflow.made import SavedMade
from turnout.job.workflow.pause import SavedPause
from turnout.job.workflow.published import SavedModels
from turnout.job.workflow.ranking import SavedRanking
from turnout.job.workflow.workflow import SavedWorkflow
from turnout.messages import FailingEvaluation, Warned

TOO_LARGE = {MODEL: np.zeros(BYTES_MAX, np.float32)}

#: Of every section one that says something in each field; what a later section saves belongs here, too.
SAVED: tuple[msgspec.Struct, ...] = (
    SavedJob(12.5, "enough", 7),
    SavedSum(4.5, 3),
    said_of(*VERSIONS),
    SavedWorkflow(5, 31.25, 2),
    SavedTally(3, 1, 2, {"norm": 4}, {0: 2, 50: 1}, 6, "loss is not finite"),
    SavedMade(10, 2, 1, {3: 5, 4: 0}),
    SavedGroups(((("android", "1.4"), Counts(5, 4, 3, 1, 0, 2, {"norm": 1}, "too far")),)),
    SavedFederated({4: {"accuracy": Sum(0.9, 2.0, 1, 0.45, 0.2, 1, ((9, 0.45),))}}),
    Norms(1.5, 3, (1.0, 1.5, 2.0)),
    SavedPlaces(131_072, (1.0, 2.0)),
    SavedPacing(13.0),
    SavedModels(((3, BlobRef("a" * 64, 88)), (4, BlobRef("b" * 64, 88)))),
    SavedBases({3: 0.5, 4: 0.25}),
    SavedPause(5.0, 2.0, "training diverged"),
    SavedRanking((3, 0.9), {3: {"accuracy": 0.9}}),
    SavedEvaluation(FailingEvaluation(3, 4, 2, "KeyError: 'loss'")),
    SavedWarnings((Warned("the disk is slow", 2, 100.0, 130.5),)),
    SavedFleets((("sim", 1_000),)),
    SavedRandom(random.Random(3).getstate()),
)


def a_lease(key: int, salt: int) -> Lease:
    return Lease(salt, key, key.to_bytes(16), 10.0, 0.5 * salt, 60.0, salt % 2 == 0, ("ios", "2") if salt % 3 else None)


#: A key by a small number, and a value by its key and any number; a later table belongs here, too.
VALUES: dict[Table[Any, Any], tuple[Callable[[int], Any], Callable[[Any, int], Any]]] = {
    LEASES: (int, a_lease),
    TAKEN: (lambda number: number.to_bytes(16), lambda key, salt: salt - 2),
    COUNTED: (int, lambda key, salt: (key, 64 * key, 0.5 * salt, bytes([salt, 1]))),
}


def test_the_suite_knows_all_sections_and_tables() -> None:
    assert {type(section) for section in SAVED} == set(SECTIONS.values())
    assert set(VALUES) == set(TABLES)


def of_table(commit: int, table: Table[Any, Any], rows: Rows[Any, Any], after: dict[Any, Any]) -> Any:
    """A commit that says ``rows`` of one table, which is ``after`` then."""
    right = said_of(*after.values()) if table is COUNTED else said_of(*VERSIONS)
    return snapshot(commit, right, tables={table: rows})


# --- what comes back ----------------------------------------------------------------------------------------------


def test_a_new_journal_is_empty_and_has_a_key(journal: Journal) -> None:
    assert journal.load() is None
    assert len(journal.key) == 32
    assert journal.incarnation == 1


@pytest.mark.parametrize("section", SAVED, ids=lambda section: type(section).__name__)
def test_every_section_comes_back_as_it_was_saved(world: World, journal: Journal, section: msgspec.Struct) -> None:
    journal.commit(snapshot(1, section))
    found = world.next_process().load()
    assert found is not None
    assert found.of(type(section)) == section
    assert_same(found, snapshot(1, section))


def test_a_section_that_changes_back_is_as_it_was(journal: Journal) -> None:
    for commit, paused in enumerate((SavedPause(1.0), SavedPause(), SavedPause(1.0)), start=1):
        journal.commit(snapshot(commit, paused))
        assert_same(journal.load(), snapshot(commit, paused))


def test_each_commit_replaces_the_last_as_a_whole(journal: Journal) -> None:
    journal.commit(snapshot())
    later = snapshot(2, said_of(VERSIONS[1]), version=5, tables={COUNTED: versions(VERSIONS[1])})
    later = replace(later, vectors={MODEL: np.zeros(3, np.float32), TOTAL: np.ones(3)})
    journal.commit(later)
    assert_same(journal.load(), later)


def test_vectors_keep_their_numbers_to_the_last_bit(journal: Journal) -> None:
    numbers = {MODEL: np.array([1e-45, -0.0, 3.4e38], np.float32), TOTAL: np.array([0.1, 1e300, -5e-324])}
    journal.commit(snapshot(vectors=numbers))
    found = journal.load()
    assert found is not None
    assert {name: found.vectors[name].tobytes() for name in numbers} == {
        name: vector.tobytes() for name, vector in numbers.items()
    }


# --- rows ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_rows_come_are_replaced_and_go_and_all_others_stay(journal: Journal, table: Table[Any, Any]) -> None:
    key, value = VALUES[table]
    one, two, three = (key(number) for number in (1, 2, 3))
    first, again, third = {one: value(one, 1), two: value(two, 2)}, value(two, 9), value(three, 3)
    steps = [
        (whole(first), first),
        (Rows({three: third}), {**first, three: third}),
        (Rows({two: again}, {one, key(77)}), {two: again, three: third}),
        (Rows({}), {two: again, three: third}),
        (whole({one: first[one]}), {one: first[one]}),
        (Rows({}, {one}), {}),
    ]
    for commit, (rows, after) in enumerate(steps, start=1):
        journal.commit(of_table(commit, table, rows, after))
        found = journal.load() if commit % 2 else None  # and some commits follow one that was not read back
        assert found is None or found.rows(table) == after
    found = journal.load()
    assert found is not None
    assert found.rows(table) == {}


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_many_commits_of_changes_leave_what_they_say(world: World, table: Table[Any, Any]) -> None:
    rng, (key, value) = random.Random(5), VALUES[table]
    journal, after = world.next_process(), dict[Any, Any]()
    for commit in range(1, 40):
        clear = commit == 1 or rng.random() < 0.1
        came = {key(number): value(key(number), rng.randrange(90)) for number in rng.sample(range(12), 4)}
        rows = Rows(came, {key(number) for number in rng.sample(range(12, 24), 4)} | {key(commit % 24)}, whole=clear)
        rows = replace(rows, went=set(rows.went) - came.keys())
        after = dict(rows.after(after).came)
        journal.commit(of_table(commit, table, rows, after))
        if commit % 13 == 0:
            journal = world.next_process()
            found = journal.load()
            assert found is not None
            assert found.rows(table) == after


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_changes_of_what_nobody_knows_are_refused(journal: Journal, table: Table[Any, Any]) -> None:
    with pytest.raises(AssertionError):
        journal.commit(snapshot(1, tables={table: Rows({})}))
    assert journal.load() is None


# --- processes ----------------------------------------------------------------------------------------------------


def test_the_next_process_has_the_same_key_and_snapshot_and_the_next_incarnation(world: World) -> None:
    first = world.next_process()
    first.commit(snapshot())
    second = world.next_process()
    assert (second.key, second.incarnation) == (first.key, 2)
    assert_same(second.load(), snapshot())


def test_a_process_that_was_replaced_commits_nothing_and_reads_nothing(world: World) -> None:
    first = world.next_process()
    first.commit(snapshot())
    second = world.next_process()
    with pytest.raises(Fenced, match="incarnation 2 of this job has taken over from 1"):
        first.commit(snapshot(2, version=9))
    assert_same(second.load(), snapshot())
    second.commit(snapshot(2))
    for refused in (lambda: first.commit(snapshot(3)), first.load):
        with pytest.raises(Fenced):
            refused()
    assert_same(second.load(), snapshot(2))


def test_a_process_that_takes_over_goes_on_with_changes_once_it_has_committed(world: World) -> None:
    world.next_process().commit(snapshot())
    second = world.next_process()
    second.load()
    lease = a_lease(9, 1)
    second.commit(snapshot(2))
    second.commit(snapshot(3, tables={LEASES: Rows({9: lease})}))
    found = second.load()
    assert found is not None
    assert found.rows(LEASES) == {**snapshot().rows(LEASES), 9: lease}


# --- faults -------------------------------------------------------------------------------------------------------


def test_a_commit_that_fails_for_want_of_room_changes_nothing(world: World, journal: Journal) -> None:
    journal.commit(snapshot())
    with pytest.raises(OSError, match=r"full|No space"):
        journal.commit(snapshot(2, SavedPause(1.0), vectors=TOO_LARGE, tables={LEASES: Rows({}, {65_540})}))
    assert_same(journal.load(), snapshot())
    journal.commit(snapshot(2))
    assert_same(world.next_process().load(), snapshot(2))


def test_a_commit_after_one_that_failed_and_was_not_looked_into_begins_with_what_there_is(journal: Journal) -> None:
    journal.commit(snapshot())
    with pytest.raises(OSError, match=r"full|No space"):
        journal.commit(snapshot(2, SavedPause(1.0), vectors=TOO_LARGE, tables={LEASES: Rows({}, {65_540})}))
    lease = a_lease(9, 1)
    journal.commit(snapshot(2, tables={LEASES: Rows({9: lease})}))
    assert_same(journal.load(), snapshot(2, tables={LEASES: whole({**snapshot().rows(LEASES), 9: lease})}))


def test_a_failed_commit_of_a_process_that_was_replaced_is_not_settled_by_what_its_successor_wrote(
    world: World, journal: Journal
) -> None:
    journal.commit(snapshot())
    with pytest.raises(OSError, match=r"full|No space"):
        journal.commit(snapshot(2, vectors=TOO_LARGE))
    world.next_process().commit(snapshot(2))
    with pytest.raises(Fenced):
        journal.load()
