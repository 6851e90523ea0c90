"""Selection by lot, in a job."""

from collections import Counter
from collections.abc import Callable

import pytest

from tests.contract.flare.quirks import covers
from tests.unit.job.a_job import Job, a_job_of, make_parts
from turnout.job.core.events import Answer, Cancelled, Event, Paused, SelectionAsked, TaskAsked, Tick
from turnout.job.core.parts import Parts
from turnout.job.core.status import status_of
from turnout.job.places.cohort import TRAINING_SLACK, Cohort
from turnout.job.places.fleets import Fleets
from turnout.job.places.known import KnownDevices
from turnout.job.workflow.buffered import Buffered
from turnout.job.workflow.rounds import Rounds
from turnout.job.workflow.workflow import Workflow
from turnout.messages import (
    DeviceInfo,
    FleetRange,
    SelectionRequest,
    SelectionResponse,
    Status,
    TaskRequest,
    TaskResponse,
)

INVITE_S = 20.0
FLEET = FleetRange("sim", 5)


def cohort_job(concurrency: int = 2, goal: int = 100) -> Job:
    return cohort_job_of(lambda: Buffered(concurrency, goal, staleness_max=20))


def cohort_job_of(make_workflow: Callable[[], Workflow]) -> Job:
    def remake() -> Parts:
        parts = make_parts(make_workflow())
        known, fleets = KnownDevices(1800.0, b"a secret"), Fleets(1800.0)
        parts.places.selection = Cohort(known, fleets, INVITE_S, allow_fleets=True, latest=lambda: parts.pacing.latest)
        return parts

    return a_job_of(remake)


@pytest.fixture
def job() -> Job:
    return cohort_job()


def select(job: Job, device: str = "dummy", fleet: FleetRange | None = None) -> SelectionResponse:
    ticket = job.ticket()
    effects = job.happens(SelectionAsked(ticket, SelectionRequest(DeviceInfo(device), "job-1", fleet=fleet)))
    (answer,) = [each for each in effects if isinstance(each, Answer) and each.ticket == ticket]
    assert isinstance(answer.response, SelectionResponse)
    return answer.response


def selection(job: Job, device: str = "dummy", fleet: FleetRange | None = None) -> dict[str, int]:
    found = select(job, device, fleet).selection
    assert found is not None
    return found


def save(job: Job) -> None:
    """The pause after the last commit is over, and what is new becomes durable."""
    job.now += 0.02
    job.happens(Tick())
    job.settle()


def test_the_only_device_known_gets_a_place_at_once(job: Job) -> None:
    assert job.ask("a").status is Status.OK


def test_no_more_devices_are_served_than_there_are_places(job: Job) -> None:
    assert [job.ask(device).status for device in "abc"] == [Status.OK, Status.OK, Status.RETRY]


def test_a_device_that_was_not_drawn_is_told_so_and_when_to_come_back() -> None:
    job = cohort_job(concurrency=1)
    for number in range(50):
        job.ask(f"d{number}")  # the first takes the place
    job.report("d0", job.ask("d0"))
    answers = [job.ask(f"d{number}") for number in range(1, 50)]
    assert Counter(answer.status for answer in answers) in (
        {Status.OK: 1, Status.RETRY: 48},
        {Status.RETRY: 49},  # one that has asked already was drawn
    )
    waiting = next(answer for answer in answers if answer.status is Status.RETRY)
    assert waiting.message == "others were chosen this time"
    assert waiting.retry_wait is not None


def test_a_place_waits_for_the_device_that_was_drawn_until_its_invitation_ends() -> None:
    job = cohort_job(concurrency=1)
    select(job, "sim?5", FLEET)
    (drawn,) = selection(job)
    job.now = INVITE_S - 1
    others = [name for name in (f"sim#{number}" for number in range(5)) if name != drawn]
    assert all(job.ask(other).status is Status.RETRY for other in others)
    assert job.ask(drawn).status is Status.OK


@covers("hole-14", "hole-24")
def test_an_invitation_that_nobody_takes_up_is_given_to_another_in_the_end() -> None:
    job = cohort_job(concurrency=1)
    select(job, "sim?5", FLEET)
    first = selection(job)
    seen = set(first)
    for _ in range(20):
        job.now += INVITE_S + 200  # later than any wait told
        seen |= set(selection(job))
    assert len(seen) > 1


def test_who_polls_a_hundred_times_as_often_is_drawn_no_more_often() -> None:
    """Two kinds of ten devices; the eager ask 100 times each round, the others once."""
    job, counts = cohort_job(concurrency=5, goal=5), Counter[str]()
    eager, calm = [f"eager{n}" for n in range(10)], [f"calm{n}" for n in range(10)]
    for device in calm + eager:  # all are known before the first draw that counts
        job.ask(device)
    for _ in range(150):
        job.now += 0.1
        for device in eager * 20 + calm + eager:
            task = job.ask(device)
            if task.status is Status.OK:
                counts[device.rstrip("0123456789")] += 1
                job.report(device, task)
                job.settle()
    share = counts["eager"] / counts.total()
    assert counts.total() > 500
    assert 0.4 < share < 0.65


def test_a_device_takes_part_in_a_version_once() -> None:
    job = cohort_job(concurrency=1)
    job.report("a", job.ask("a"))
    job.settle()
    assert job.ask("a").message == "this device has done its task of this model version"


@covers("id/range", "id/selection")
def test_a_simulator_finds_its_devices_and_each_gets_the_task_of_its_selection(job: Job) -> None:
    chosen = selection(job, "sim?5", FLEET)
    assert len(chosen) == 2
    assert set(chosen) <= {f"sim#{number}" for number in range(5)}
    for device, selection_id in chosen.items():
        task = job.ask(device)
        assert task.status is Status.OK
        assert task.cookie is not None
        assert task.cookie["device_selection_id"] == selection_id
    assert selection(job) == chosen  # they train, and a simulator that lost the answer asks again
    device = next(iter(chosen))
    job.report(device, job.ask(device))
    job.settle()
    assert device not in selection(job)


def test_ids_of_selections_are_never_used_again_not_even_after_a_crash() -> None:
    job = cohort_job()
    first = selection(job, "sim?5", FLEET)
    save(job)
    again = job.restart()
    assert not set(selection(again).values()) & set(first.values())


def test_a_fleet_is_remembered_over_a_restart_for_its_simulator_names_it_only_once() -> None:
    job = cohort_job()
    select(job, "sim?5", FLEET)
    save(job)
    again = job.restart()
    assert len(selection(again, "dummy")) == 2


def test_a_simulator_hears_ok_only_when_its_fleet_is_durable(job: Job) -> None:
    job.keeps_grants = False
    registered = select(job, "sim?5", FLEET)
    assert registered.status is Status.RETRY
    assert registered.selection, "and can begin all the same"
    save(job)
    assert select(job, "sim?5", FLEET).status is Status.OK


def test_a_job_without_leave_for_fleets_says_how_to_give_it(job: Job) -> None:
    chosen = job.core.parts.places.selection
    assert isinstance(chosen, Cohort)
    chosen.allow_fleets = False
    refused = select(job, "sim?5", FLEET)
    assert refused.status is Status.INVALID_REQUEST
    assert "allow_fleets" in str(refused.message)
    assert len(chosen.fleets) == 0


def test_a_fleet_that_is_refused_is_a_warning_for_people_too(job: Job) -> None:
    """FLARE's simulator waits in silence."""
    chosen = job.core.parts.places.selection
    assert isinstance(chosen, Cohort)
    chosen.allow_fleets = False
    for name in ("sim", "another"):
        select(job, f"{name}?5", FleetRange(name, 5))
    (warning,) = status_of(job.core, job.now).warnings
    assert warning.startswith('a simulator\'s fleet, "…?5", was refused')
    assert "allow_fleets = true" in warning


@covers("hole-13", "id/selection")
def test_devices_are_named_to_nobody_but_themselves_unless_a_fleet_was_registered(job: Job) -> None:
    job.ask("phone-1")
    assert list(selection(job, "phone-1")) == ["phone-1"]
    assert selection(job, "phone-2") == {}
    assert selection(job) == {}


def test_a_simulator_that_names_its_fleet_hears_of_no_other() -> None:
    job = cohort_job(concurrency=10)
    other = FleetRange("other", 5)
    select(job, "other?5", other)
    assert {name.partition("#")[0] for name in selection(job, "sim?5", FLEET)} == {"sim"}
    assert {name.partition("#")[0] for name in selection(job)} == {"sim", "other"}


@pytest.mark.parametrize("event", [Paused(), Cancelled("enough")])
def test_nobody_is_invited_while_the_job_is_paused_or_over(job: Job, event: Event) -> None:
    job.happens(event)
    assert selection(job, "sim?5", FLEET) == {}


def test_a_simulator_slower_than_its_invitations_trains_on_and_on() -> None:
    """As FLARE's: one device every half second, of 300 places; ten minutes are 1,200 results but for the first."""
    job, counted = cohort_job(concurrency=300, goal=50), 0
    job.between_s = 0.5
    select(job, "sim?1000", FleetRange("sim", 1000))
    for _ in range(1200):
        waiting = selection(job)
        job.now += 0.5
        for device in waiting:
            task = job.ask(device)
            if task.status is Status.OK:
                job.report(device, task)
                job.settle()
                counted += 1
                break
    assert counted > 1000
    assert job.now > 600


def test_what_is_remembered_of_devices_that_train_is_bounded_by_places() -> None:
    job = cohort_job(concurrency=3, goal=5)
    for number in range(4000):
        device = f"d{number % 200}"
        job.now += 0.1
        task = job.ask(device)
        if task.status is Status.OK:
            job.report(device, task)
            job.settle()
    chosen = job.core.parts.places.selection
    assert isinstance(chosen, Cohort)
    assert job.core.tally.counted > 80
    assert len(chosen._training) <= 2 * 3 + TRAINING_SLACK + 1


def test_chances_of_the_jobs_own_code_leave_no_place_empty_and_polling_often_does_not_help() -> None:
    """One kind of device of which a fifth is to take part; half of them ask ten times as often."""
    job, counts = cohort_job(concurrency=5, goal=5), Counter[str]()
    eager, calm = [f"eager{n}" for n in range(100)], [f"calm{n}" for n in range(100)]
    for _ in range(60):
        job.now += 1.0
        for device in [*eager, *calm, *eager * 4]:
            ticket = job.ticket()
            job.happens(TaskAsked(ticket, TaskRequest(DeviceInfo(device), "job-1"), chance=0.2))
            task = job.answers[ticket]
            assert isinstance(task, TaskResponse)
            if task.status is Status.OK:
                counts[device.rstrip("0123456789")] += 1
                job.report(device, task)
                job.settle()
    assert counts.total() > 500
    assert counts["eager"] / counts.total() < 0.65


def test_a_round_is_not_held_up_by_devices_that_were_drawn_and_vanished() -> None:
    """Half of 60 devices never come back after their first ask; rounds of 10 close all the same."""
    job = cohort_job_of(lambda: Rounds(10, over_selection=1.3, deadline_s=60.0, quorum=0.8, extensions_max=100))
    stays, vanishes = [f"stays{n}" for n in range(30)], [f"vanishes{n}" for n in range(30)]
    for device in stays + vanishes:
        job.ask(device)
    for _ in range(600):
        job.now += 1.0
        job.happens(Tick())
        job.settle()
        for device in stays:
            task = job.ask(device)
            if task.status is Status.OK:
                job.report(device, task)
                job.settle()
    assert job.core.version >= 10


def test_a_fleet_whose_commit_failed_is_durable_with_the_next(job: Job) -> None:
    job.keeps_grants = False
    select(job, "sim?5", FLEET)
    save(job)
    job.now += 0.02
    select(job, "other?5", FleetRange("other", 5))
    job.now += 0.02
    job.happens(Tick())
    job.fail_commit()
    for _ in range(5):
        job.now += 2.0
        job.happens(Tick())
        job.settle()
    assert select(job, "other?5", FleetRange("other", 5)).status is Status.OK


def test_fleets_are_forgotten_when_the_job_takes_none_any_more(job: Job) -> None:
    select(job, "sim?5", FLEET)
    save(job)
    remake = job.remake

    def without() -> Parts:
        parts = remake()
        chosen = parts.places.selection
        assert isinstance(chosen, Cohort)
        chosen.allow_fleets = False
        return parts

    job.remake = without
    assert selection(job.restart(), "dummy") == {}
