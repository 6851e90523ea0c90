"""What a person is told when training diverges."""

from turnout.job.workflow.ranking import Ranking


def words(why: str, dropped: int, version: int, earlier: int, ranking: Ranking) -> str:
    """``version`` will be the model of ``earlier``; ``dropped`` results are in no version, for ``why``."""
    which = "the best" if ranking.best is not None and ranking.best[0] == earlier else "the newest that was made"
    results = "1 result was" if dropped == 1 else f"{dropped} results were"
    return (
        f"training diverged: {why}; {results} dropped; version {version} is version {earlier} again, {which}; "
        "lower learning rates or update_norm_max help"
    )
