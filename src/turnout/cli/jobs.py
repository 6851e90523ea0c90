"""Commands about jobs on a server: submit one, look at it, pause it, cancel it."""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from turnout.cli.base import (
    JOBS,
    LOCAL,
    URL_VARIABLE,
    Folder,
    Job,
    Json,
    Remote,
    answer,
    app,
    at_least_one,
    examples,
    print_json,
)
from turnout.errors import UsageError
from turnout.process.exits import EXIT_DONE
from turnout.process.streams import say, tell

if TYPE_CHECKING:  # these take long to import, and most commands need neither
    from turnout.client.client import ControlClient
    from turnout.client.view import JobView

LOG_LINES = 100


@app.command(
    group=JOBS,
    help_epilogue=examples(
        "turnout submit my-job",
        "turnout submit my-job --url http://127.0.0.1:8711",
        "turnout submit my-job --json | jq -r .job_id",
    ),
)
def submit(job_folder: Folder, *, remote: Remote = LOCAL, json: Json = False) -> int:
    """Submit a job folder to a running server. Its code can do there all that the account of the server can."""
    from turnout.cli.progress import moving

    client = remote.client()
    left_out: list[str] = []
    with moving() as bar:
        sending = bar.step("sending the job folder", then="the server checks it")
        job = client.submit(job_folder, sending, bar.step("packing the job folder"), left_out.append)
    for line in left_out:
        say(f"left out: {line}")
    at = "" if remote.server == os.environ.get(URL_VARIABLE, "") else f" --url {client.url}"
    lines = [
        f"job {job.job_id} started; devices ask for it as {job.name!r}",
        f"watch it:        turnout watch {job.job_id}{at}",
        f"in a browser:    {client.url}/#/jobs/{job.job_id}",
        f"get its model:   turnout model {job.job_id}{at}",
        f"cancel it:       turnout cancel {job.job_id}{at}",
    ]
    answer(job, lines, json)
    return EXIT_DONE


@app.command(
    group=JOBS,
    help_epilogue=examples("turnout jobs", "turnout jobs --url http://127.0.0.1:8711 --json | jq '.[].job_id'"),
)
def jobs(*, remote: Remote = LOCAL, json: Json = False) -> int:
    """List the jobs of a running server, newest first."""
    from turnout.client.listing import asked, table

    found = asked(remote.client())
    answer(found, table(found), json)
    return EXIT_DONE


@app.command(
    group=JOBS,
    help_epilogue=examples("turnout show digits-1f2e3d4c", "turnout show digits --json | jq .status.metrics"),
)
def show(job: Job, *, remote: Remote = LOCAL, json: Json = False) -> int:
    """Show one job in detail: its state, what it waits for, its metrics, what was refused and why, its warnings."""
    from turnout.cli.finding import find
    from turnout.cli.showing import described

    view = find(remote.client(), job)
    answer(view, described(view), json)
    return EXIT_DONE


@app.command(
    group=JOBS,
    help_epilogue=examples("turnout watch digits", "turnout watch digits-1f2e3d4c --json | jq .status.version"),
)
def watch(job: Job, *, remote: Remote = LOCAL, json: Json = False) -> int:
    """Follow a job until it ends: live on a terminal, else a line whenever something has changed."""
    from turnout.cli.finding import find
    from turnout.cli.watching import follow

    client = remote.client()
    return follow(client, find(client, job), json)


@app.command(
    group=JOBS,
    help_epilogue=examples("turnout logs digits", "turnout logs digits --lines 1000", "turnout logs digits --follow"),
)
def logs(
    job: Job,
    *,
    lines: Annotated[int, Parameter(help="How many of the last lines to print.")] = LOG_LINES,
    follow: Annotated[bool, Parameter(negative="", help="Continue until the job ends.")] = False,
    remote: Remote = LOCAL,
    json: Json = False,
) -> int:
    """Print what a job's process has printed last: its warnings, its errors, and what server.py prints."""
    from turnout.cli.finding import find
    from turnout.cli.logs import printed
    from turnout.cli.outputs import LogLine

    client = remote.client()
    view = find(client, job)
    any_line = False
    for line in printed(client, view, at_least_one("--lines", lines), follow):
        any_line = True
        if json:
            print_json(LogLine(line))
        else:
            tell(line)
    if not any_line:
        say(f"job {view.job_id} has not printed anything")
    return EXIT_DONE


def _have_it(job: str, remote: Remote, json: bool, ask: "Callable[[ControlClient, str], JobView]", told: str) -> int:
    """Have the server do something with a job, and print what became of it; ``told`` takes its view."""
    from turnout.cli.finding import find

    client = remote.client()
    view = ask(client, find(client, job).job_id)
    answer(view, [f"job {view.job_id} {told.format(view)}"], json)
    return EXIT_DONE


@app.command(group=JOBS, help_epilogue=examples("turnout pause digits"))
def pause(job: Job, *, remote: Remote = LOCAL, json: Json = False) -> int:
    """Give out no more tasks of a job until it is resumed; results of tasks given out before still count."""
    return _have_it(
        job,
        remote,
        json,
        lambda client, job_id: client.pause(job_id),
        "is paused; resume it with: turnout resume {0.job_id}",
    )


@app.command(group=JOBS, help_epilogue=examples("turnout resume digits"))
def resume(job: Job, *, remote: Remote = LOCAL, json: Json = False) -> int:
    """Resume a job that was paused, or that paused because too few devices reported."""
    return _have_it(job, remote, json, lambda client, job_id: client.resume(job_id), "is resumed")


@app.command(group=JOBS, help_epilogue=examples("turnout cancel digits-1f2e3d4c"))
def cancel(job: Job, *, remote: Remote = LOCAL, json: Json = False) -> int:
    """Cancel a job before its stop rule ends it. Its model is kept; turnout start continues it."""
    return _have_it(
        job,
        remote,
        json,
        lambda client, job_id: client.cancel(job_id),
        "is {0.state}; once it has ended, continue it with: turnout start {0.job_id}",
    )


@app.command(show=False)
def abort(job: Job, *, remote: Remote = LOCAL, json: Json = False) -> int:
    """The former name of turnout cancel."""
    say("turnout abort is now turnout cancel; the old name will be removed in 0.3")
    return cancel(job, remote=remote, json=json)


@app.command(group=JOBS, help_epilogue=examples("turnout start digits-1f2e3d4c"))
def start(job: Job, *, remote: Remote = LOCAL, json: Json = False) -> int:
    """Start a job again that was cancelled or has failed. It continues from its last commit."""
    return _have_it(
        job,
        remote,
        json,
        lambda client, job_id: client.start(job_id),
        "is being started; watch it with: turnout watch {0.job_id}",
    )


@app.command(group=JOBS, help_epilogue=examples("turnout delete digits-1f2e3d4c"))
def delete(
    job_id: Annotated[str, Parameter(help="The full id; deletion cannot be undone.")],
    *,
    remote: Remote = LOCAL,
    json: Json = False,
) -> int:
    """Remove all that is kept of a job that has ended: its models, its events, its log."""
    from turnout.cli.finding import find
    from turnout.cli.outputs import Deleted

    client = remote.client()
    found = find(client, job_id).job_id
    if found != job_id:
        raise UsageError(f'"{job_id}" is not the full id of a job; to delete it: turnout delete {found}')
    client.delete(job_id)
    answer(Deleted(job_id), [f"job {job_id} is deleted"], json)
    return EXIT_DONE
