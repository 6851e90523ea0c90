"""What is true of a job after every event, whatever happened."""

from turnout.job.core.commits import Commits
from turnout.job.core.held import HELD_MAX
from turnout.job.core.staged import WAITING_MAX
from turnout.job.core.standing import Standing
from turnout.job.core.states import (
    Closing,
    Doubtful,
    Draining,
    Failed,
    Open,
    Over,
    Recalling,
    Recovering,
    Settled,
    Settling,
    Writing,
)


def check(core: Standing) -> None:
    """AssertionError, with the state, where one of these does not hold:

    * every counted result is in a version, in the open sum, or known to be in neither;
    * a staged result is claimed, and staged once;
    * the open sum has no more results than close a version, and none while a version closes;
    * a live lease is of a task that was given out, of a published version that may still count, and is not counted;
    * only what must wait is held, within the bounds of what may wait;
    * the state has what it says: a closing version its commit, an open one its model, an end that is durable no lease;
    * what people see is the word for the state.
    """
    _check_sums(core)
    _check_leases(core)
    _check_waiting(core)
    _check_state(core)
    paused, full = core.paused_by, core.commits.trouble
    assert core.word == core.word_now(), f'people see "{core.word}": {core.state}, paused {paused}, trouble {full}'
    if isinstance(core.commits.state, Doubtful | Failed):
        assert core.commits.trouble is not None, "a commit failed, and people are not told"


def _check_sums(core: Standing) -> None:
    count, made = core.parts.aggregator.count, core.made
    assert core.tally.counted == made.total + count, f"{core.tally.counted} are counted: {made} and {count} in the sum"
    fresh, writing = core.staged.fresh.keys(), core.staged.writing.keys()
    assert not fresh & writing, f"tasks {sorted(fresh & writing)} are staged twice"
    known = core.counted.versions()
    for task in (*fresh, *writing):
        assert any(core.counted.has(version, task) for version in known), f"task {task} is staged, and not claimed"
    if core.state.counts:
        assert count <= core.parts.workflow.goal, f"{count} results in the sum close a version of {core.state}"
    if isinstance(core.state, Closing):
        assert not count, f"{count} results were added to no version: {core.state}"
        assert not fresh, f"results were staged while a version closes: {core.state}"


def _check_leases(core: Standing) -> None:
    places = core.parts.places
    made = isinstance(core.state, Recovering | Closing | Settling)  # maybe: older leases end once it is published
    oldest = core.version - core.parts.workflow.staleness_max - made
    assert core.void_sure <= core.void_below <= places.next_task, "tasks are void that were never given out"
    recovering = isinstance(core.state, Recovering)
    begun = places.reserved_until  # 0 until this process has committed: it may be given up before
    assert not begun or places.next_task <= begun, "a task number is given out and not reserved"
    for lease in places.live.all():
        assert lease.task < places.next_task, f"{lease} is of a task that was not given out"
        assert oldest <= lease.version <= core.version, f"{lease} is too old"
        assert recovering or core.models.has(lease.version), f"the model of {lease} is retired"
        assert not core.counted.has(lease.version, lease.task), f"{lease} has a place, and is counted"


def _check_waiting(core: Standing) -> None:
    assert len(core.held) <= HELD_MAX, "too much is held"
    assert not core.held or core.holding(), f"{len(core.held)} requests are held in {core.state}"
    for waiting in (*core.staged.fresh.values(), *core.staged.writing.values()):
        assert len(waiting) <= WAITING_MAX, "too many wait for the commit of one result"


def _check_state(core: Standing) -> None:
    published, commits = core.models.has(core.version), core.commits
    match core.state:
        case Recovering():
            assert not published, "its first commit is durable"
        case Open() | Draining() | Settled():
            assert published, f"version {core.version} is not published in {core.state}"
        case Closing(version):
            assert version == core.version, f"{core.state}, and the version is {core.version}"
            assert not published, f"version {version} is published, and its commit is under way"
            assert (writing := commits.writing) is not None, "no commit is under way"
            assert writing.closes, "the commit under way makes no version"
        case Recalling():
            assert commits.writing is None, "a commit is under way while an earlier model is read"
        case Settling():
            assert _is_busy(commits), "nothing is done to end the job"
            assert not len(core.parts.places.live), "a task is waited for after the end"
        case Over():
            assert not core.staged.fresh, "results are staged after the end"


def _is_busy(commits: Commits) -> bool:
    """Whether a commit is under way or will be tried again."""
    return isinstance(commits.state, Writing | Doubtful | Failed)
