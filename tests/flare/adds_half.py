"""A device for FLARE's simulator that trains a model of numpy arrays; its result can be worked out by hand."""

import numpy as np
from nvflare.apis.dxo import DXO, DataKind, from_dict
from nvflare.edge.simulation.device_task_processor import DeviceTaskProcessor
from nvflare.edge.web.models.job_response import JobResponse
from nvflare.edge.web.models.task_response import TaskResponse


class AddsHalf(DeviceTaskProcessor):
    """Its training adds one half to every number of the model."""

    def setup(self, job: JobResponse) -> None:
        assert job.job_data == {"config": {"rate": 0.5}}

    def shutdown(self) -> None:
        pass

    def process_task(self, task: TaskResponse) -> dict:
        model = from_dict(task.task_data)
        assert model.data_kind == DataKind.WEIGHTS
        weights = {name: np.array(values, np.float32) for name, values in model.data.items()}
        trained = {name: values + self.job_data["config"]["rate"] for name, values in weights.items()}
        diff = {name: (trained[name] - values).tolist() for name, values in weights.items()}
        return DXO(DataKind.WEIGHT_DIFF, {"dict": diff, "count": 1}).to_dict()
