"""The discount "flare" and ``staleness_max``, held against FLARE's own model manager."""

import numpy as np
import pytest
from nvflare.apis.dxo import DXO, DataKind
from nvflare.apis.fl_context import FLContext
from nvflare.edge.assessors.buff_model_manager import BuffModelManager
from nvflare.edge.mud import ModelUpdate

from turnout.aggregator import staleness
from turnout.aggregator.contribution import Contribution
from turnout.aggregator.mean import MeanAggregator

VERSION = 6  #: Of FLARE's model when the updates come; no tested age goes further back.


class Manager(BuffModelManager):  # type: ignore[misc]
    """Without the components that would listen to its events."""

    def fire_event(self, event_type: str, fl_ctx: FLContext) -> None: ...


def flares_step(ages: list[int], weighs: bool, history: int | None = None) -> float:
    """How far FLARE's model moves by updates of 1.0 that are so many versions old; 0.0 where it takes none of them."""
    manager, context = Manager(len(ages) + 1, max_model_history=history, staleness_weight=weighs), FLContext()
    manager.initialize_model(DXO(DataKind.WEIGHTS, data={"w": np.zeros(1)}), context)
    for _ in range(VERSION):
        manager.generate_new_model(context)
    for number, age in enumerate(ages):
        update = DXO(DataKind.WEIGHT_DIFF, data={"dict": {"w": np.ones(1)}, "count": 1}).to_shareable()
        manager.process_updates({VERSION - age: ModelUpdate(VERSION - age, update, {f"d{number}": 1.0})}, context)
    manager.generate_new_model(context)
    return float(manager.current_model.data.get("w", [0.0])[0])  # without an update it has no numbers at all


def our_step(ages: list[int]) -> float:
    mean = MeanAggregator(1, 1.0)
    for age in ages:
        mean.add(Contribution(np.ones(1, np.float32), (0,), 1.0, 1.0), staleness.flare(age))
    return float(mean.mean()[0])


@pytest.mark.parametrize("ages", [[0], [0, 0, 0, 0], [0, 1], [2, 2], [0, 1, 2, 5]])
def test_updates_of_any_age_move_the_model_as_far_as_flares(ages: list[int]) -> None:
    assert our_step(ages) == pytest.approx(flares_step(ages, weighs=True), rel=1e-6)
    assert flares_step(ages, weighs=False) == 1.0, 'as discount = "constant" does'


@pytest.mark.parametrize("history", [1, 3])
def test_a_history_of_n_versions_is_a_staleness_of_one_less(history: int) -> None:
    taken = [age for age in range(VERSION) if flares_step([age], weighs=False, history=history)]

    staleness_max = history - 1
    assert taken == [age for age in range(VERSION) if age <= staleness_max]
