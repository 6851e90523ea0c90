"""``turnout track``: a job's numbers in TensorBoard or MLflow."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from turnout.cli.base import JOBS, LOCAL, Job, Json, Remote, answer, app, examples
from turnout.errors import UsageError
from turnout.process.exits import EXIT_DONE, EXIT_NOT_COMPLETED
from turnout.process.streams import say


@app.command(
    group=JOBS,
    help_epilogue=examples(
        "turnout track digits --tensorboard runs/digits",
        "turnout track digits --mlflow http://127.0.0.1:5000 --experiment digits",
    ),
)
def track(
    job: Job,
    *,
    tensorboard: Annotated[Path | None, Parameter(help="A folder for TensorBoard to read.")] = None,
    mlflow: Annotated[str, Parameter(help="The tracking URI of MLflow.")] = "",
    experiment: Annotated[str, Parameter(help="MLflow's experiment, made when it is absent.")] = "turnout",
    remote: Remote = LOCAL,
    json: Json = False,
) -> int:
    """Follow a job, from its first event to its end, and pass its numbers on to TensorBoard or MLflow."""
    from turnout.cli.finding import find
    from turnout.client.view import JobState
    from turnout.tracking.course import Tracker
    from turnout.tracking.follow import follow
    from turnout.tracking.mlflow import MLflow
    from turnout.tracking.tensorboard import TensorBoard

    if (tensorboard is None) == (not mlflow):
        raise UsageError("give one of --tensorboard FOLDER and --mlflow URI")
    client = remote.client()
    view = find(client, job)
    tracker: Tracker = MLflow(mlflow, experiment, view.job_id) if tensorboard is None else TensorBoard(tensorboard)
    say(f"job {view.job_id} is followed to its end; its numbers go to {tensorboard or mlflow}")
    state = JobState.RUNNING
    try:
        state = follow(client, view.job_id, tracker, say)
    finally:
        tracker.close(state is JobState.COMPLETED)
    view = client.job(view.job_id)
    answer(view, [f"job {view.job_id} is {view.state}; its numbers are in {tensorboard or mlflow}"], json)
    return EXIT_DONE if state is JobState.COMPLETED else EXIT_NOT_COMPLETED
