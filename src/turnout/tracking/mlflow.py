"""Sends a job's numbers to MLflow, as one run."""

from turnout.errors import TurnoutError, UsageError


class MLflow:
    """A tracker; the run is named after the job. Raises TurnoutError when MLflow does not take something."""

    def __init__(self, uri: str, experiment: str, job_id: str) -> None:
        try:
            from mlflow import MlflowClient
            from mlflow.entities import Metric
            from mlflow.exceptions import MlflowException
        except ImportError:
            raise UsageError("mlflow is not installed: pip install 'turnout[mlflow]'") from None
        self._metric, self._refusal, self._uri = Metric, MlflowException, uri
        try:
            self._client = MlflowClient(tracking_uri=uri)
            found = self._client.get_experiment_by_name(experiment)
            number = found.experiment_id if found is not None else self._client.create_experiment(experiment)
            self._run_id = self._client.create_run(number, run_name=job_id).info.run_id
        except MlflowException as error:
            raise TurnoutError(f"MLflow at {uri} cannot be used: {_first_line(error)}") from error

    def log(self, numbers: dict[str, float], step: int, at: float) -> None:
        metrics = [self._metric(name, value, round(at * 1000), step) for name, value in numbers.items()]
        try:
            self._client.log_batch(self._run_id, metrics=metrics)
        except self._refusal as error:
            raise TurnoutError(f"MLflow at {self._uri} does not take more: {_first_line(error)}") from error

    def close(self, completed: bool) -> None:
        self._client.set_terminated(self._run_id, "FINISHED" if completed else "KILLED")


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
