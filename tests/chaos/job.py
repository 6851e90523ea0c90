"""The job that the chaos harness trains: its model counts, for each device, how often that device was counted.

Device i adds exactly 1 at coordinate i with every task. All weigh the same, the server's step is plain SGD at rate 1,
and each version takes a power of two of results: every sum is exact in float32, so equality needs no tolerance.
"""

from pathlib import Path

NAME = "chaos"
TENSOR = "count"
TASK_NAME = "train"

_JOB = """
name = "{name}"

[training]
{training}
weighting = "uniform"

[optimizer]
name = "sgd"
learning_rate = 1.0

[selection]
kind = "checkin"
thinning_window_s = 0.0

[pacing]
check_ins_per_s = 2000.0
wait_min_s = 0.05
wait_max_s = 2.0

[leases]
min_s = 2.0
max_s = 10.0
resend_window_s = {resend_window_s}

[stop]
versions = 10000000
"""

_BUFFERED = """workflow = "buffered"
concurrency = {places}
buffer_goal = {goal}
staleness_max = {staleness_max}
staleness = {{ discount = "constant" }}"""

#: A round closes by its cohort alone, never by its deadline, so that its size is always the goal.
_ROUNDS = """workflow = "rounds"
cohort = {goal}
over_selection = {over_selection}
quorum = 1.0
deadline_s = 5.0
round_extensions_max = 1000"""

_MODEL = """
import numpy as np

def initial_model():
    return {{"{tensor}": np.zeros({devices}, np.float32)}}
"""

_DEVICE = """
import numpy as np
from turnout.device.trainers.base import Update

class AddsOne:
    def __init__(self, index):
        self.index = index

    def train(self, model, config):
        delta = np.zeros({devices}, np.float32)
        delta[self.index] = 1
        return Update({{"{tensor}": delta}}, 1.0)

def trainer(index, devices, seed):
    return AddsOne(index)
"""

WORKFLOWS = ("buffered", "rounds")


def write_job(
    folder: Path, devices: int, goal: int, places: int, workflow: str, resend_window_s: float, staleness_max: int
) -> None:
    """Write the job folder; ``goal`` is a power of two, ``places`` are the devices that may train at once.

    A round takes no results of an earlier one: ``staleness_max`` is of buffered jobs.
    """
    assert goal & (goal - 1) == 0, "sums are exact only where a version takes a power of two"
    template = {"buffered": _BUFFERED, "rounds": _ROUNDS}[workflow]
    training = template.format(places=places, goal=goal, over_selection=places / goal, staleness_max=staleness_max)
    folder.mkdir()
    text = _JOB.format(name=NAME, training=training, resend_window_s=resend_window_s)
    (folder / "job.toml").write_text(text)
    (folder / "model.py").write_text(_MODEL.format(tensor=TENSOR, devices=devices))
    (folder / "device.py").write_text(_DEVICE.format(tensor=TENSOR, devices=devices))
