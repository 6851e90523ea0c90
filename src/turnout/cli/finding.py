"""From what a person calls a job to the job itself."""

import difflib

from turnout.client.client import ControlClient
from turnout.client.view import UNFINISHED, JobView
from turnout.errors import NotFoundError, UsageError

SHOWN_MAX = 3


def find(client: ControlClient, wanted: str) -> JobView:
    """The job that ``wanted`` names: its id, the beginning of its id, or a name that only one job has.

    Of several jobs of one name the one that has not ended is meant, if there is only one such. Raises UsageError that
    names the nearest.
    """
    try:
        return client.job(wanted)
    except NotFoundError:
        jobs = client.jobs()
    found = [job for job in jobs if job.name == wanted] or [job for job in jobs if job.job_id.startswith(wanted)]
    running = [job for job in found if job.state in UNFINISHED]
    for candidates in (found, running):
        if len(candidates) == 1:
            return client.job(candidates[0].job_id)
    if found:
        ids = ", ".join(job.job_id for job in (running or found)[:SHOWN_MAX])
        raise UsageError(f'"{wanted}" may be any of {len(running or found)} jobs; give an id: {ids}')
    raise UsageError(f'no job "{wanted}"; {_nearest(wanted, jobs)}turnout jobs lists them')


def _nearest(wanted: str, jobs: list[JobView]) -> str:
    """The job whose id or name is the most like it."""
    known = {job.job_id: job.job_id for job in jobs} | {job.name: job.job_id for job in reversed(jobs)}
    near = difflib.get_close_matches(wanted, known, 1)
    return f"did you mean {known[near[0]]}? " if near else ""
