"""Which of the models that a job keeps is meant, and what there is to say of it. Pure."""

from turnout.errors import NotFoundError
from turnout.messages import JobStatus, KeptModel

NEWEST, BEST = "newest", "best"


def choose(status: JobStatus, wanted: str | int | None = None) -> KeptModel:
    """``wanted``: "newest", "best" or a version; None: the best where a metric says which that is, else the newest.

    Raises NotFoundError when it is not kept.
    """
    kept = {model.version: model for model in status.kept}
    if status.version not in kept:
        kept[status.version] = KeptModel(status.version, status.model_sha256, 0)
    if wanted is None:
        wanted = NEWEST if status.best_metric is None else BEST
    if wanted == BEST and status.best_metric is None:
        raise NotFoundError(
            f"job {status.job_id} has measured no version by a metric of its own; ask for version=newest"
        )
    version = {NEWEST: status.version, BEST: status.best_version}.get(str(wanted), wanted)
    if version not in kept:
        versions = ", ".join(map(str, sorted(kept)))
        raise NotFoundError(f"version {version} is not kept; give one of {versions}, or newest or best")
    return kept[version]


def described(status: JobStatus, version: int) -> str:
    """Which version of a job this is, and what it measured, in words."""
    metrics = next((model.metrics for model in status.kept if model.version == version), {})
    measured = ", ".join(f"{name} {value:.4g}" for name, value in metrics.items()) or "not measured"
    if status.best_metric is not None and version == status.best_version:
        return f"version {version}, the best ({measured})"
    return f"version {version}{', the newest' if version == status.version else ''} ({measured})"
