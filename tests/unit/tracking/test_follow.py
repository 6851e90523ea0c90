"""A job's numbers, passed on: each once, whatever breaks off."""

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from turnout.client.client import StreamedEvent
from turnout.client.view import JobState, JobView, Sample
from turnout.control.samples import sample_of
from turnout.control.traffic import Traffic
from turnout.errors import UnreachableError
from turnout.messages import JobEvent, JobStatus
from turnout.tracking.course import Course
from turnout.tracking.follow import PATIENCE_S, TOLD_EVERY_S, follow
from turnout.tracking.mlflow import MLflow
from turnout.tracking.tensorboard import TensorBoard

END = StreamedEvent("end", msgspec.json.encode(JobView("digits-1", "digits", JobState.COMPLETED, 1.0)), "")


class Kept:
    """A tracker that remembers."""

    def __init__(self) -> None:
        self.logged: list[tuple[dict[str, float], int, float]] = []

    def log(self, numbers: dict[str, float], step: int, at: float) -> None:
        self.logged.append((numbers, step, at))

    def close(self, completed: bool) -> None:
        pass


class Server:
    """Answers each request for events with the next of the streams, which break off but for the last."""

    def __init__(self, *streams: list[StreamedEvent]) -> None:
        self.streams = list(streams)
        self.asked_after: list[str] = []

    def events(self, job_id: str, after: str = "") -> Iterator[StreamedEvent]:
        self.asked_after.append(after)
        if not self.streams:
            raise UnreachableError("nothing answers")
        yield from self.streams.pop(0)
        raise UnreachableError("it broke off")


def published(version: int, at: float) -> StreamedEvent:
    event = JobEvent(at, "published", version, counted=10 * version, took_s=2.0)
    return StreamedEvent("event", msgspec.json.encode(event), f"1-{version}")


def evaluated(version: int, accuracy: float) -> StreamedEvent:
    event = JobEvent(9.0, "evaluated", version, metrics={"accuracy": accuracy})
    return StreamedEvent("event", msgspec.json.encode(event), f"1-{version}5")


def sample(at: float) -> Sample:
    return sample_of(JobStatus("digits-1", "digits", "OPEN", "buffered", training=4), Traffic(7.0), at)


def test_versions_and_metrics_are_passed_on_by_version() -> None:
    kept = Kept()
    assert follow(Server([published(1, 5.0), evaluated(1, 0.5), END]), "digits-1", kept, print) is JobState.COMPLETED
    assert kept.logged == [
        ({"version/results": 10, "version/seconds": 2.0}, 1, 5.0),
        ({"model/accuracy": 0.5}, 1, 9.0),
    ]


def test_now_and_then_a_person_is_told_that_it_goes_on() -> None:
    said, times = list[str](), iter([0.0, 1.0, TOLD_EVERY_S, TOLD_EVERY_S + 1.0, 99.0])
    server = Server([published(1, 5.0), published(2, 6.0), published(3, 7.0), END])
    follow(server, "digits-1", Kept(), said.append, clock=lambda: next(times))
    assert said == ["2 events and samples passed on", "4 events and samples passed on"]


def test_after_a_break_it_goes_on_after_the_last_event_and_tells_no_version_twice() -> None:
    kept, server, said = Kept(), Server([published(1, 5.0)], [published(1, 6.0), published(2, 7.0), END]), list[str]()
    follow(server, "digits-1", kept, said.append, pause=lambda _: None)
    assert server.asked_after == ["", "1-1"]
    assert [(step, at) for _, step, at in kept.logged] == [(1, 5.0), (2, 7.0)]
    assert said == ["it broke off; trying again"]


def test_a_server_that_stays_away_is_given_up() -> None:
    now = 0.0

    def pause(seconds: float) -> None:
        nonlocal now
        now += seconds

    with pytest.raises(UnreachableError):
        follow(Server(), "digits-1", Kept(), lambda _: None, pause, lambda: now)
    assert now > PATIENCE_S


def test_of_the_samples_one_in_ten_seconds_is_passed_on_by_seconds_since_the_beginning() -> None:
    kept, course = Kept(), Course()
    for second in range(25):
        course.sample(sample(100.0 + second), kept)
    assert [step for _, step, _ in kept.logged] == [0, 10, 20]
    assert kept.logged[0][0]["fleet/training"] == 4
    assert kept.logged[0][0]["server/requests_per_s"] == 7.0


def test_tensorboard_finds_a_file(tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX", reason="pip install 'turnout[tensorboard]'")
    tracker = TensorBoard(tmp_path)
    tracker.log({"model/accuracy": 0.5}, 1, 9.0)
    tracker.close(completed=True)
    (file,) = tmp_path.glob("events.out.tfevents.*")
    assert b"model/accuracy" in file.read_bytes()


@pytest.fixture
def mlflow_may_use_files() -> Iterator[None]:
    """Its newer versions want a server, or a database that its client does not bring."""
    os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"
    yield
    del os.environ["MLFLOW_ALLOW_FILE_STORE"]


@pytest.mark.usefixtures("mlflow_may_use_files")
def test_mlflow_has_a_run_named_after_the_job(tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow", reason="MLflow is not installed; make mlflow installs it")
    uri = (tmp_path / "runs").as_uri()
    tracker = MLflow(uri, "digits", "digits-1")
    tracker.log({"model/accuracy": 0.5}, 1, 9.0)
    tracker.close(completed=True)
    client = mlflow.MlflowClient(tracking_uri=uri)
    (run,) = client.search_runs([client.get_experiment_by_name("digits").experiment_id])
    assert (run.info.run_name, run.info.status) == ("digits-1", "FINISHED")
    (point,) = client.get_metric_history(run.info.run_id, "model/accuracy")
    assert (point.value, point.step, point.timestamp) == (0.5, 1, 9000)
