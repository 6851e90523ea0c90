"""What the dashboard makes of events and samples, number by number."""

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.fake import FakeControl


@pytest.fixture(scope="module")
def page(browser: Browser) -> Iterator[Page]:
    control = FakeControl()
    with control.serving():
        page = browser.new_page()
        page.goto(f"{control.url}/style.css")
        yield page
        page.close()


def run(page: Page, script: str, given: Any) -> Any:
    """The value of ``script``, in which ``s`` is the module and ``given`` what is given."""
    return page.evaluate(f"async (given) => {{ const s = await import('/series.js'); return ({script}); }}", given)


COURSE = "(() => { const c = new s.Course(); c.load(given); return c; })()"


def published(version: int, at: float) -> dict[str, Any]:
    return {"at": at, "kind": "published", "version": version}


def test_a_version_published_again_keeps_its_first_time(page: Page) -> None:
    events = [published(1, 10.0), published(2, 20.0), published(2, 95.0)]
    assert run(page, f"[...{COURSE}.published.values()].map((e) => e.at)", {"events": events}) == [10, 20]


def test_what_comes_twice_is_kept_once(page: Page) -> None:
    events, samples = [published(1, 10.0)] * 2, [{"at": 5.0}, {"at": 6.0}, {"at": 5.0}]
    script = f"(() => {{ const c = {COURSE}; return [c.events.length, c.samples.length]; }})()"
    assert run(page, script, {"events": events, "samples": samples}) == [1, 2]


def test_versions_per_hour_are_measured_over_the_versions_before(page: Page) -> None:
    events = [published(version, 36.0 * version) for version in (1, 2, 3)]
    assert run(page, f"{COURSE}.pace(0).map((p) => p.value)", {"events": events}) == [100, 100]


def test_versions_per_hour_fall_while_the_next_version_is_overdue(page: Page) -> None:
    events = [published(1, 36.0), published(2, 72.0)]
    assert run(page, f"{COURSE}.pace(180).map((p) => p.value)", {"events": events}) == [100, 25]


def test_versions_per_hour_are_interrupted_at_a_pause(page: Page) -> None:
    paused = {"at": 80.0, "kind": "state", "text": "PAUSED"}
    resumed = {"at": 120.0, "kind": "state", "text": "OPEN"}
    events = [published(1, 36.0), published(2, 72.0), paused, resumed, published(3, 144.0), published(4, 180.0)]
    assert run(page, f"{COURSE}.pace(0).map((p) => [p.at, p.value])", {"events": events}) == [
        [72, 100],
        [72, None],
        [144, 2 * 3600 / 108],
        [180, 75],
    ]


def test_no_version_is_overdue_while_the_job_is_paused(page: Page) -> None:
    paused = {"at": 80.0, "kind": "state", "text": "PAUSED"}
    events = [published(1, 36.0), published(2, 72.0), paused]
    assert run(page, f"{COURSE}.pace(180).map((p) => p.value)", {"events": events}) == [100, None]


def test_a_rate_is_the_growth_of_a_count(page: Page) -> None:
    kept = [{"at": 1, "n": 10}, {"at": 3, "n": 30}, {"at": 4, "n": 30}]
    assert run(page, "s.rate(given, (k) => k.n)", kept) == {"x": [3, 4], "y": [10, 0]}


def test_a_count_that_began_anew_says_nothing(page: Page) -> None:
    assert run(page, "s.rate(given, (k) => k.n).y", [{"at": 1, "n": 10}, {"at": 2, "n": 3}]) == [None]


def test_where_samples_are_missing_a_line_is_interrupted(page: Page) -> None:
    samples = [{"at": 1}, {"at": 2}, {"at": 60}]
    assert run(page, "s.thin(given).map((k) => k && k.at)", samples) == [1, 2, None, 60]


def test_a_long_course_is_thinned_to_the_last_sample_of_each_stretch(page: Page) -> None:
    samples = [{"at": at} for at in range(240)]
    assert run(page, "s.thin(given).map((k) => k.at)", samples) == list(range(1, 240, 2))


def test_lost_devices_are_counted_over_the_last_seconds(page: Page) -> None:
    kept = [{"at": 0, "n": 1}, {"at": 30, "n": 4}, {"at": 70, "n": 6}]
    assert run(page, "s.within(given, (k) => k.n, 60).y", kept) == [0, 3, 2]


def test_a_long_course_keeps_its_first_and_its_last_point(page: Page) -> None:
    kept = run(page, "s.sparse([...Array(given).keys()])", 1300)
    assert (kept[:2], kept[-1], len(kept)) == ([0, 3], 1299, 434)


def test_a_metric_has_a_gap_where_the_evaluation_failed(page: Page) -> None:
    evaluated = [{"at": 10.0 * v, "kind": "evaluated", "version": v, "metrics": {"loss": v / 10}} for v in (1, 2, 9)]
    failed = {"at": 30.0, "kind": "evaluation_failed", "version": 3, "text": "KeyError"}
    events = [*evaluated[:2], failed, evaluated[2]]
    assert run(page, f"{COURSE}.metric('loss').map((p) => [p.version, p.value])", {"events": events}) == [
        [1, 0.1],
        [2, 0.2],
        [3, None],
        [9, 0.9],
    ]


def test_while_the_evaluation_fails_a_metric_s_axis_goes_on_to_the_newest_version(page: Page) -> None:
    measured = {"at": 20.0, "kind": "evaluated", "version": 2, "metrics": {"loss": 0.2}}
    failed = {"at": 30.0, "kind": "evaluation_failed", "version": 3, "text": "KeyError"}
    events = [published(2, 20.0), measured, published(3, 30.0), failed, published(77, 99.0)]
    assert run(page, f"{COURSE}.metric('loss').map((p) => [p.version, p.value])", {"events": events}) == [
        [2, 0.2],
        [3, None],
        [77, None],
    ]


@pytest.mark.parametrize(
    ("ends", "step"), [([0, 0], 1), ([0, 2], 1), ([0, 7], 1), ([0, 12], 2), ([0, 30], 5), ([0, 480], 100), ([3, 9], 1)]
)
def test_an_axis_of_versions_has_whole_steps(page: Page, ends: list[int], step: int) -> None:
    script = "(await import('/charts.js')).wholeStep([{ x: given }], 7)"
    assert run(page, script, ends) == step
