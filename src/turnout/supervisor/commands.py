"""How each process of a server is called: the one place where command lines of roles are written.

Every child inherits the read end of the lifeline and the write end of its pulse, and gets their numbers.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from turnout.process.environment import PYTHON
from turnout.transport.orders import JobProcess

LIFELINE = "{lifeline}"  #: Stands for the lifeline's number in commands that are made before it is known.


def gateway(
    number: int, listen_fd: int, feed: Path, lifeline_fd: int, pulse_fd: int, options: Sequence[str] = ()
) -> list[str]:
    """A gateway on an inherited listening socket, which it shares with the other gateways."""
    return [
        *(*PYTHON, "turnout.gateway.process"),
        *("--number", str(number)),
        *("--listen-fd", str(listen_fd)),
        *("--feed", str(feed)),
        *options,
        *("--lifeline-fd", str(lifeline_fd)),
        *("--pulse-fd", str(pulse_fd)),
    ]


def control(
    listen_fd: int, runtime: Path, data: Path, lifeline_fd: int, pulse_fd: int, result_bytes_max: int
) -> list[str]:
    """Control on an inherited listening socket; it finds the other sockets in the ``runtime`` folder."""
    return [
        *(*PYTHON, "turnout.control.process"),
        *("--listen-fd", str(listen_fd)),
        *("--runtime", str(runtime)),
        *("--data", str(data)),
        *("--lifeline-fd", str(lifeline_fd)),
        *("--pulse-fd", str(pulse_fd)),
        *("--result-bytes-max", str(result_bytes_max)),
    ]


def job(job: JobProcess, lifeline_fd: int, pulse_fd: int, seed: int | None = None) -> list[str]:
    """The process of one job; ``seed`` is that of a run with simulated devices."""
    return [
        *(*PYTHON, "turnout.job.process"),
        *("--folder", job.folder),
        *("--job-id", job.job_id),
        *("--address", job.address),
        *("--blobs", job.blobs),
        *(("--seed", str(seed)) if seed is not None else ()),
        *("--lifeline-fd", str(lifeline_fd)),
        *("--pulse-fd", str(pulse_fd)),
    ]


def server(data: Path, gateways: int, ready_fd: int, seed: int) -> list[str]:
    """A whole server on free ports for a run with simulated devices; it tells the ports through ``ready_fd``."""
    return [
        *(*PYTHON, "turnout.supervisor.process"),
        *("--data", str(data)),
        *("--gateways", str(gateways)),
        *("--seed", str(seed)),
        *("--lifeline-fd", LIFELINE),
        *("--ready-fd", str(ready_fd)),
    ]


def fleet(url: str, job_name: str, folder: Path, options: Mapping[str, float]) -> list[str]:
    """A simulated fleet that trains with the job folder's ``device.py`` and tells its counters as lines of JSON.

    ``options`` are those of ``turnout fleet`` by name.
    """
    return [
        *(*PYTHON, "turnout", "fleet", url),
        *("--job", job_name),
        *("--trainer", str(folder)),
        *(part for name, value in options.items() for part in (f"--{name}", f"{value:g}")),
        "--json",
        *("--lifeline-fd", LIFELINE),
    ]


def central(seed: int) -> list[str]:
    """The demo's comparison: the same model, all data in one place."""
    return [*PYTHON, "turnout.demo.central", "--seed", str(seed), "--lifeline-fd", LIFELINE]
