"""What a run of the chaos harness found, for people. Pure."""

from collections import Counter
from collections.abc import Iterable, Iterator
from statistics import median

from tests.chaos.harness import Outcome
from tests.chaos.killer import CLASSES, Interrupted, Role


def table(outcome: Outcome) -> str:
    """All of it as lines of text."""
    return "\n".join([*_kills(outcome), "", *_results(outcome), "", *_recovery(outcome), "", *_end(outcome)])


def _kills(outcome: Outcome) -> Iterator[str]:
    yield f"{'killed (SIGKILL)':<18}{'what that interrupted':<36}{'times':>7}"
    hits = Counter((kill.role, kill.interrupted) for kill in outcome.kills)
    for role in Role:
        of_job = role is Role.JOB
        for each in [*CLASSES, *(rest for rest in Interrupted if rest not in CLASSES)]:
            if hits[role, each] or (of_job and each in CLASSES):
                yield f"{role:<18}{each:<36}{hits[role, each]:>7}"
    yield f"{'all':<54}{len(outcome.kills):>7}"


def _results(outcome: Outcome) -> Iterator[str]:
    verdict = outcome.verdict
    assert verdict is not None
    yield from _rows(
        ("results sent, copies among them", outcome.sent),
        ("acknowledged (tasks)", outcome.acknowledged),
        ("told so again, as duplicates", outcome.duplicates),
        ("refused (tasks)", outcome.refused),
        ("too old to know (tasks)", outcome.too_old),
        ("without an answer", verdict.open),
        ("counted, by the model", verdict.counted),
        ("model versions", outcome.versions),
        ("of these, forgotten which tasks they counted", outcome.forgotten),
        ("lost", verdict.lost),
        ("double", verdict.double),
        ("counted, but never sent", verdict.invented),
        ("counted, but refused to the device", verdict.denied),
        ("sent again by the harness at the end", outcome.settled_by_us),
    )


def _recovery(outcome: Outcome) -> Iterator[str]:
    yield f"{'from kill to first answer':<34}{'times':>7}{'median':>10}{'longest':>10}"
    for role, outages in outcome.outages.items():
        once = [outage.seconds for outage in outages if outage.kills == 1]
        again = [outage.seconds for outage in outages if outage.kills > 1]
        for name, found in ((str(role), once), (f"{role}, killed again meanwhile", again)):
            if found:
                yield f"{name:<34}{len(found):>7}{median(found):>8.2f} s{max(found):>8.2f} s"


def _end(outcome: Outcome) -> Iterator[str]:
    verdict = outcome.verdict
    assert verdict is not None
    yield from (f"wrong: {mistake}" for mistake in verdict.mistakes)
    yield from (f"not ended by us: {line}" for line in outcome.crashes)
    promise = "every promise held" if outcome.holds else "A PROMISE WAS BROKEN"
    yield (
        f"{promise}: {len(outcome.kills)} kills, {outcome.acknowledged} acknowledged, lost {verdict.lost}, "
        f"double {verdict.double}, in {outcome.duration_s:.0f} s (seed {outcome.plan.seed})"
    )


def _rows(*rows: tuple[str, int]) -> Iterable[str]:
    return (f"{name:<54}{number:>7}" for name, number in rows)
