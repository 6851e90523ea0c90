"""The best version and the newest ones are kept, and what is measured may end the job."""

from tests.unit.job.a_job import Job, blob_of, new_job
from turnout.job.core.events import Evaluated, Finish, Retract
from turnout.job.core.states import Kind
from turnout.job.core.status import status_of
from turnout.job.workflow.buffered import Buffered
from turnout.job.workflow.evaluation import Evaluate, Evaluation
from turnout.job.workflow.ranking import Ranking, SavedRanking, Target
from turnout.messages import KeptModel


def ranked(**settings: object) -> Job:
    """Every result makes a version, every version is evaluated when the test says so."""
    made = {"metric": "accuracy", **settings}
    job = new_job(lambda: Buffered(4, 1, 3))
    job.core.parts.ranking = Ranking(**made)  # type: ignore[arg-type]
    job.core.parts.evaluation = Evaluation(every=1)
    return job


def make_version(job: Job, accuracy: float) -> None:
    """The next version, measured."""
    job.now += 1.0
    device = f"device-{job.tickets}"
    job.report(device, job.ask(device))
    job.settle()
    job.now += 1.0
    job.happens(Evaluated(job.core.version, {"accuracy": accuracy}))
    job.settle()


def kept(job: Job) -> list[int]:
    return [model.version for model in status_of(job.core, job.now).kept]


def dropped(job: Job) -> list[str]:
    return [effect.blob.sha256 for effect in job.effects if isinstance(effect, Retract)]


# --- the ranking alone --------------------------------------------------------------------------------------------


def test_more_is_better_or_less_is() -> None:
    up, down = Ranking("a"), Ranking("a", higher=False)
    for ranking, expected in ((up, (2, 0.9)), (down, (1, 0.5))):
        for version, value in ((1, 0.5), (2, 0.9), (3, 0.7)):
            ranking.take(version, {"a": value}, newest=version)
        assert ranking.best == expected


def test_the_first_of_two_equal_versions_is_the_best() -> None:
    ranking = Ranking("a")
    assert ranking.take(1, {"a": 0.5}, newest=1)
    assert not ranking.take(2, {"a": 0.5}, newest=2)
    assert ranking.best == (1, 0.5)


def test_metrics_are_remembered_of_kept_versions_only() -> None:
    ranking = Ranking("a", keep=2)
    for version, value in ((1, 0.9), (2, 0.5), (3, 0.6), (4, 0.7)):
        ranking.take(version, {"a": value}, newest=version)
    assert sorted(ranking.measured) == [1, 3, 4]


def test_what_a_snapshot_holds_is_not_changed_later() -> None:
    ranking = Ranking("a", keep=2)
    ranking.take(1, {"a": 0.5}, newest=1)
    held = ranking.measured
    ranking.take(2, {"a": 0.6}, newest=2)
    assert held == {1: {"a": 0.5}}


def test_a_target_is_reached_at_its_bound() -> None:
    up, down = Target("a", at_least=0.9), Target("a", at_most=0.1)
    assert not up.reached(1, {"a": 0.89})
    assert up.reached(1, {"a": 0.9}) == "a of version 1 is 0.9, at least 0.9"
    assert down.reached(2, {"a": 0.1}) == "a of version 2 is 0.1, at most 0.1"
    assert not down.reached(1, {"b": 0.0})


def test_a_missing_metric_is_complained_about_once() -> None:
    ranking = Ranking("a")
    assert ranking.complaint({"loss": 1.0}) == "evaluate gave no a, which job.toml asks for; it gave loss"
    assert not ranking.complaint({"loss": 1.0})


# --- in a job -----------------------------------------------------------------------------------------------------


def test_the_model_of_the_best_version_is_kept_and_its_successor_takes_its_place() -> None:
    job = ranked()
    for accuracy in (0.5, 0.9, 0.7, 0.8):
        make_version(job, accuracy)
    assert kept(job) == [2, 4]
    assert blob_of(1).sha256 in dropped(job)
    assert blob_of(2).sha256 not in dropped(job)
    status = status_of(job.core, job.now)
    assert (status.best_version, status.best_metric) == (2, 0.9)
    assert status.kept[0] == KeptModel(2, blob_of(2).sha256, 100, {"accuracy": 0.9}, results=1)
    make_version(job, 0.95)
    make_version(job, 0.1)
    make_version(job, 0.1)
    assert kept(job) == [5, 7]
    assert blob_of(2).sha256 in dropped(job)


def test_so_many_newest_models_are_kept() -> None:
    job = ranked(metric="", keep=3)
    for _ in range(5):
        make_version(job, 0.5)
    assert kept(job) == [3, 4, 5]
    assert status_of(job.core, job.now).best_metric is None


def test_the_model_that_is_being_measured_is_kept_until_its_rank_is_known() -> None:
    """Version 1 is measured while version 2 is made; it is the best."""
    job = ranked()
    for device in "ab":
        job.report(device, job.ask(device))
        job.settle()
    assert [effect.version for effect in job.effects if isinstance(effect, Evaluate)] == [1]
    assert blob_of(1).sha256 not in dropped(job)
    job.happens(Evaluated(1, {"accuracy": 0.9}))
    job.settle()
    make_version(job, 0.5)
    assert kept(job) == [1, 3]


def test_the_best_version_survives_a_restart() -> None:
    job = ranked()
    for accuracy in (0.9, 0.7, 0.8):
        make_version(job, accuracy)
    again = restarted(job)
    assert kept(again) == [1, 3]
    status = status_of(again.core, again.now)
    assert (status.best_version, status.best_metric) == (1, 0.9)
    assert status.kept[0].metrics == {"accuracy": 0.9}
    make_version(again, 0.85)
    assert again.core.parts.ranking.best == (1, 0.9)


def test_a_best_version_whose_model_is_gone_is_none() -> None:
    """As after a restore of a backup, which holds the newest model only."""
    ranking = Ranking("a")
    ranking.load(SavedRanking((3, 0.9), {3: {"a": 0.9}, 7: {"a": 0.8}}))
    ranking.forget_all_but({7})
    assert ranking.best is None
    assert ranking.measured == {7: {"a": 0.8}}


def restarted(job: Job) -> Job:
    settings = job.core.parts.ranking
    remake = job.remake

    def remade():  # type: ignore[no-untyped-def]
        parts = remake()
        parts.ranking = Ranking(settings.metric, settings.higher, settings.keep, settings.patience, settings.target)
        parts.evaluation = Evaluation(every=1)
        return parts

    job.remake = remade
    return job.restart()


def test_a_job_ends_when_its_target_is_reached() -> None:
    job = ranked(target=Target("accuracy", at_least=0.9))
    make_version(job, 0.8)
    make_version(job, 0.93)
    reason = "accuracy of version 2 is 0.93, at least 0.9"
    assert job.effects[-1] == Finish(Kind.COMPLETED, reason)
    assert job.core.ending == reason


def test_a_job_ends_when_no_version_was_better_for_so_long() -> None:
    job = ranked(patience=2)
    for accuracy in (0.8, 0.9, 0.7):
        make_version(job, accuracy)
    assert not job.core.ended
    make_version(job, 0.85)
    assert job.effects[-1] == Finish(Kind.COMPLETED, "no version since 2, with accuracy 0.9, was better: 2 versions")


def test_a_job_that_reached_its_target_has_reached_it_after_a_crash_too() -> None:
    """The commit that says so is durable, and the process was killed before it announced the end."""
    job = ranked(target=Target("accuracy", at_least=0.9))
    job.report("a", job.ask("a"))
    job.settle()
    job.now += 1.0
    job.keeps_grants = False
    job.happens(Evaluated(1, {"accuracy": 0.95}))
    assert job.committing is not None
    job.journal.commit(job.committing.snapshot)
    again = restarted(job)
    again.happens(Evaluated(1, {"accuracy": 0.1}))
    assert again.effects[-1] == Finish(Kind.COMPLETED, "accuracy of version 1 is 0.95, at least 0.9")


def test_a_result_of_a_task_that_is_out_when_the_target_is_reached_counts() -> None:
    job = ranked(target=Target("accuracy", at_least=0.9))
    task = job.ask("late")
    job.report("a", job.ask("a"))
    job.settle()
    job.now += 1.0
    job.keeps_grants = False
    job.happens(Evaluated(1, {"accuracy": 0.95}))
    told = job.report("late", task)
    assert told() is None
    job.settle()
    answer = told()
    assert answer is not None
    assert answer.counted
    job.happens(Evaluated(2, {"accuracy": 0.5}))
    job.settle()
    assert isinstance(job.effects[-1], Finish)


def test_a_metric_that_evaluate_does_not_give_is_a_warning() -> None:
    job = ranked()
    job.report("a", job.ask("a"))
    job.settle()
    job.happens(Evaluated(1, {"loss": 0.5}))
    assert job.core.warnings.newest == ["evaluate gave no accuracy, which job.toml asks for; it gave loss"]
