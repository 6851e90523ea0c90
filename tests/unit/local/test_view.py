"""What is shown for recorded moments of a run."""

import io

import msgspec
from rich.console import Console

from turnout.cli.running import compared
from turnout.client.view import JobState, JobView
from turnout.local.picture import Picture
from turnout.local.view import panel, plain, sparkline
from turnout.messages import GatewayCounters, JobStatus

STATUS = JobStatus(
    job_id="digits-1",
    name="digits",
    state="open",
    workflow="buffered",
    version=14,
    buffered=5,
    goal=10,
    places=64,
    training=60,
    counted=145,
    duplicates=2,
    refused={"too_stale": 3, "norm": 1},
    staleness={0: 100, 1: 40, 9: 5},
    metrics={"loss": 0.5, "accuracy": 0.912},
    metrics_version=14,
    waiting_for="5 of 10 updates for version 15; 60 tasks are out",
    warnings=("an earlier process ended at version 3",),
)


def view(status: JobStatus | None) -> JobView:
    return JobView("digits-1", "digits", JobState.RUNNING, 0.0, status=status, fresh=True)


def picture() -> Picture:
    made = Picture("turnout demo", devices=500, began=100.0)
    made.saw_job(view(STATUS), now=112.0)
    return made


def drawn(shown: Picture, width: int = 110, height: int = 50) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    console.print(panel(shown, height))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_panel_shows_what_a_person_watches() -> None:
    made = picture()
    made.central = {"accuracy": 0.955}
    made.said("gateway 0 (pid 7) was killed by SIGKILL", now=111.0)
    text = drawn(made)
    for expected in (
        "version 14",
        "accuracy 91.2 % (trained centrally: 95.5 %)",
        "60 training · 440 waiting · 0 lost  of 500",
        "145 counted · 2 sent again · 4 refused: too_stale 3, norm 1",
        "5 of 10",
        "6+",
        "5 of 10 updates for version 15; 60 tasks are out",
        "an earlier process ended at version 3",
        "11.0 s  gateway 0 (pid 7) was killed by SIGKILL",
    ):
        assert expected in text, text


def test_a_metric_of_an_earlier_version_says_which() -> None:
    made = Picture("turnout run", devices=500, began=100.0)
    made.saw_job(view(msgspec.structs.replace(STATUS, metrics_version=9)), now=112.0)
    assert "accuracy 91.2 % (of version 9)" in drawn(made)
    assert "accuracy 91.2 % (of version 9)" in plain(made)
    assert "(of version" not in drawn(picture())


def test_a_small_terminal_gets_a_view_that_fits() -> None:
    made = picture()
    made.by_version.update({1: 0.1, 2: 0.2})
    for number in range(8):
        made.said(f"event {number}", now=112.0)
    text = drawn(made, width=80, height=24)
    assert len(text.splitlines()) <= 23
    assert "event 7" in text
    assert "2+" in text


def test_before_the_job_answers_the_panel_says_that_it_starts() -> None:
    made = Picture("turnout demo", devices=5, began=0.0)
    made.saw_job(view(None), now=1.0)
    assert "starting" in drawn(made)
    assert plain(made) == "  1.0 s  waiting for the job to answer"


def test_without_a_terminal_a_moment_is_one_line() -> None:
    assert plain(picture()) == (
        " 12.0 s  version 14  accuracy 91.2 %  devices 60 training, 440 waiting, 0 lost  0 requests/s  "
        "145 counted, 4 refused  5 of 10 updates for version 15; 60 tasks are out"
    )


def test_what_was_known_stays_while_control_is_restarted() -> None:
    made = picture()
    made.saw_job(view(None), now=113.0)
    assert made.view is not None
    assert made.view.status == STATUS
    assert made.elapsed_s == 13.0


def test_versions_that_a_crash_took_back_are_not_drawn_any_more() -> None:
    made = picture()
    made.saw_job(view(msgspec.structs.replace(STATUS, metrics_version=3, metrics={"accuracy": 0.2})), now=113.0)
    assert made.by_version == {3: 0.2}


def test_words_of_processes_are_never_read_as_markup() -> None:
    made = picture()
    made.said("[bold]x[/nonsense]", now=112.0)
    made.title = 'turnout run: "[/b]"'
    assert "[bold]x[/nonsense]" in drawn(made)
    assert 'turnout run: "[/b]"' in drawn(made)


def test_requests_per_second_survive_a_restarted_gateway() -> None:
    made = picture()
    made.saw_gateways([GatewayCounters(0, {"task": 100}, uptime_s=10.0)], now=100.0)
    made.saw_gateways([GatewayCounters(0, {"task": 300, "job": 100}, uptime_s=11.0)], now=101.0)
    assert made.requests_per_s == 300
    made.saw_gateways([GatewayCounters(0, {"task": 50}, uptime_s=0.5)], now=102.0)
    assert made.requests_per_s == (300 + 50) / 2


def test_a_sparkline_goes_from_the_lowest_to_the_highest_value() -> None:
    assert sparkline([0.1, 0.2, 0.8]) == "▁▂█"
    assert sparkline([0.5, 0.5]) == "▁▁"
    assert sparkline([]) == ""


def test_a_long_sparkline_shows_means_of_stretches() -> None:
    assert sparkline([0, 0, 0, 0, 7, 7, 7, 7], width=2) == "▁█"
    assert len(sparkline(range(1000), width=48)) == 48


def test_the_end_compares_with_central_training_in_points() -> None:
    assert compared("accuracy", 0.942, {"accuracy": 0.958}) == (
        "accuracy 94.2 %; the same model trained centrally 95.8 %: 1.6 points below"
    )
    assert compared("accuracy", 0.96, {"accuracy": 0.95}).endswith("1.0 points above")
    assert compared("accuracy", 0.95, {"accuracy": 0.95}).endswith("the same")
    assert compared("accuracy", 0.95, None) == "accuracy 95.0 %"
    assert compared("loss", 0.125, {"loss": 0.1}) == "loss 0.125; trained centrally 0.1"
