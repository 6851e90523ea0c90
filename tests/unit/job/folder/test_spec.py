"""job.toml: what it means, and what a person is told who got it wrong."""

import ast
from pathlib import Path

import pytest

from turnout.errors import JobFolderError
from turnout.job.compose import optimizer_of, ranking_of
from turnout.job.folder import spec as spec_module
from turnout.job.folder.folder import settings_of
from turnout.job.folder.spec import (
    AdagradOptimizer,
    AdamOptimizer,
    BufferedTraining,
    CohortSelection,
    ConstantDiscount,
    FlareDiscount,
    HingeDiscount,
    JobSpec,
    Optimizer,
    PolynomialDiscount,
    RoundsTraining,
    SgdOptimizer,
    YogiOptimizer,
)
from turnout.job.folder.toml import decode_toml
from turnout.job.workflow.ranking import Ranking, Target

STOP = "\n[stop]\nversions = 3\n"
STOP_KEYS = "versions, time_s, metric, at_least, at_most, patience"


def spec(text: str) -> JobSpec:
    return decode_toml('name = "mnist"\n' + text + STOP, JobSpec, "job.toml")


def complaint(text: str) -> str:
    with pytest.raises(JobFolderError) as error:
        decode_toml(text, JobSpec, "job.toml")
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_name_and_a_stop_rule_are_enough() -> None:
    found = spec("")
    assert (found.name, found.edge_method, found.stop.versions, found.stop.time_s) == ("mnist", "numpy", 3, None)
    assert isinstance(found.training, BufferedTraining)


@pytest.mark.parametrize(
    ("training", "least"),
    [
        ("", 16),
        ('workflow = "buffered"\nbuffer_goal = 1\nresults_min = 1', 1),
        ('workflow = "buffered"\nbuffer_goal = 10\nresults_min = 4', 4),
        ('workflow = "rounds"\ncohort = 10\nquorum = 0.41', 5),
        ('workflow = "rounds"\ncohort = 2\nquorum = 0.5', 2),
        ('workflow = "rounds"\ncohort = 10\nquorum = 0.5\nresults_min = 8', 8),
    ],
)
def test_a_version_is_made_of_no_fewer_results_than_its_rule_says_and_of_two_unless_one_is_named(
    training: str, least: int
) -> None:
    assert spec(f"[training]\n{training}" if training else "").training.least == least


REMOVED_BEFORE = """
name = "mnist"
[stop]
versions = 1
[selection]
kind = "cohort"
known_s = 9
devices_min = 3
[leases]
first_s = 10
"""


@pytest.mark.parametrize("accepted", [True, False])
def test_a_setting_of_an_earlier_release_is_an_error_unless_a_server_has_taken_the_job(
    tmp_path: Path, accepted: bool
) -> None:
    (tmp_path / "job.toml").write_text(REMOVED_BEFORE)
    if accepted:
        assert isinstance(settings_of(tmp_path, accepted=True).selection, CohortSelection)
    else:
        with pytest.raises(JobFolderError, match=r"job\.toml: leases\.first_s is learned now, .*: remove it"):
            settings_of(tmp_path)


def test_every_table_is_read() -> None:
    found = decode_toml(
        """
        name = "mnist"
        edge_method = "cnn"
        [training]
        workflow = "rounds"
        cohort = 8
        over_selection = 1.5
        deadline_s = 30
        quorum = 1
        round_extensions_max = 0
        weighting = "uniform"
        weight_max = 50
        update_norm_max = 2.5
        [optimizer]
        name = "sgd"
        learning_rate = 0.5
        momentum = 0.9
        [device]
        epochs = 2
        nested = { anything = [1, "two"] }
        [selection]
        kind = "checkin"
        participation_interval_s = 60
        thinning_window_s = 0
        [eligibility]
        platforms = ["android"]
        methods = ["cnn"]
        app_version_min = "1.4.0"
        [pacing]
        check_ins_per_s = 5
        wait_min_s = 1
        wait_max_s = 2
        [leases]
        min_s = 1
        max_s = 4
        resend_window_s = 0
        [evaluation]
        every = 0
        [stop]
        versions = 10
        time_s = 3600
        """,
        JobSpec,
        "job.toml",
    )
    assert isinstance(found.training, RoundsTraining)
    assert (found.training.cohort, found.training.deadline_s, found.training.update_norm_max) == (8, 30.0, 2.5)
    assert found.device == {"epochs": 2, "nested": {"anything": [1, "two"]}}
    assert found.eligibility.platforms == ("android",)
    assert (found.leases.min_s, found.leases.max_s) == (1, 4)
    assert found.stop.time_s == 3600


@pytest.mark.parametrize(
    ("lines", "expected", "at_three"),
    [
        ('discount = "constant"', ConstantDiscount(), 1.0),
        ('discount = "polynomial"\nexponent = 1', PolynomialDiscount(exponent=1), 0.25),
        ('discount = "hinge"\na = 1\nb = 2', HingeDiscount(a=1, b=2), 0.5),
        ('discount = "flare"', FlareDiscount(), 1 / 3),
    ],
)
def test_each_discount_carries_its_own_settings(lines: str, expected: object, at_three: float) -> None:
    training = spec(f'[training]\nworkflow = "buffered"\n[training.staleness]\n{lines}').training
    assert isinstance(training, BufferedTraining)
    assert training.staleness == expected
    assert training.staleness.at(3) == at_three


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        (
            '[training]\nworkflow = "buffered"\nbuffer_gaol = 3',
            'unknown setting training.buffer_gaol; did you mean "buffer_goal"? allowed are: workflow, weighting, '
            "weight_max, update_norm_max, refuse_zeros, results_min, concurrency, buffer_goal, staleness_max, "
            "staleness",
        ),
        ("[evaluation]\nq = 1", "unknown setting evaluation.q; allowed are: every, metric, goal, keep, federated"),
        ('[training]\nworkflow = "async"', 'training.workflow = "async": expected is "rounds" or "buffered"'),
        ("[training]\nconcurrency = 1", 'training.workflow is missing; expected is "rounds" or "buffered"'),
        (
            '[training]\nworkflow = "buffered"\n[training.staleness]\ndiscount = "linear"',
            'training.staleness.discount = "linear": expected is "constant" or "polynomial" or "hinge" or "flare"',
        ),
        (
            '[training]\nworkflow = "buffered"\n[training.staleness]\ndiscount = "hinge"\na = 0',
            "training.staleness.a = 0: expected is a number, above 0 and at most 1000",
        ),
        (
            '[training]\nworkflow = "rounds"\nquorum = 1.5',
            "training.quorum = 1.5: expected is a number, above 0 and at most 1",
        ),
        (
            '[training]\nworkflow = "rounds"\ndeadline_s = "soon"',
            'training.deadline_s = "soon": expected is a number, above 0 and at most 31622400',
        ),
        (
            '[training]\nworkflow = "rounds"\ncohort = 1.5',
            "training.cohort = 1.5: expected is an integer, at least 1 and at most 10000000",
        ),
        (
            '[training]\nworkflow = "buffered"\nbuffer_goal = 1',
            "[training]: buffer_goal = 1 makes versions of one result, each of which is one device's data; raise "
            "buffer_goal, or set results_min = 1 if that is meant",
        ),
        (
            '[training]\nworkflow = "rounds"\ncohort = 1',
            "[training]: cohort = 1 makes versions of one result, each of which is one device's data; raise cohort, "
            "or set results_min = 1 if that is meant",
        ),
        (
            '[training]\nworkflow = "buffered"\nbuffer_goal = 4\nresults_min = 5',
            "[training]: results_min = 5 is above buffer_goal = 4: no version would ever close",
        ),
        (
            '[training]\nworkflow = "rounds"\nweighting = "equal"',
            'training.weighting = "equal": expected is "examples" or "uniform"',
        ),
        (
            '[optimizer]\nname = "lamb"',
            'optimizer.name = "lamb": expected is "sgd" or "adam" or "yogi" or "adagrad"',
        ),
        ('[optimizer]\nname = "adam"\ntau = 0', "optimizer.tau = 0: expected is a number, above 0 and at most 1000"),
        (
            '[optimizer]\nname = "sgd"\nmomentum = 1',
            "optimizer.momentum = 1: expected is a number, at least 0 and below 1",
        ),
        (
            '[eligibility]\nplatforms = ["ios", 1]',
            "eligibility.platforms[1] = 1: expected is a name of 1 to 128 printable characters",
        ),
        (
            '[eligibility]\nplatforms = "ios"',
            'eligibility.platforms = "ios": expected is a list, each item a name of 1 to 128 printable characters',
        ),
        (
            '[eligibility]\napp_version_min = "new"',
            'eligibility.app_version_min = "new": expected is a version like "1.4.0"',
        ),
        ("[pacing]\nwait_min_s = 601", "[pacing]: wait_min_s = 601 is above wait_max_s = 600"),
        ("[leases]\nmin_s = 3601", "[leases]: min_s = 3601 is above max_s = 3600"),
        ("[device]\nrate = nan", "device.rate = nan: expected is a finite number"),
        ("[device]\nx = [{ y = inf }]", "device.x[0].y = inf: expected is a finite number"),
        ("[device]\nday = 2024-01-01", "device.day = 2024-01-01: no setting is a date or a time; put it in quotes"),
    ],
)
def test_a_wrong_setting_is_named_with_its_value_and_what_is_allowed(table: str, expected: str) -> None:
    assert complaint(f'name = "mnist"\n{table}{STOP}') == f"job.toml: {expected}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            'name = "mnist"',
            "stop is missing; expected is a table of versions, time_s, metric, at_least, at_most, patience",
        ),
        (
            'name = "mnist"\nstop = 1',
            "stop = 1: expected is a table of versions, time_s, metric, at_least, at_most, patience",
        ),
        (
            'name = "mnist"\n[stop]',
            "[stop]: set versions, time_s or both: without either the job would never end",
        ),
        ("name = true" + STOP, "name = true: expected is a name of 1 to 128 printable characters"),
        ('name = "a\\nb"' + STOP, r'name = "a\nb": expected is a name of 1 to 128 printable characters'),
        ('name = ""' + STOP, 'name = "": expected is a name of 1 to 128 printable characters'),
        (STOP, "name is missing; expected is a name of 1 to 128 printable characters"),
    ],
)
def test_what_must_be_there_is_asked_for(text: str, expected: str) -> None:
    assert complaint(text) == f"job.toml: {expected}"


def test_broken_toml_is_reported_with_its_line() -> None:
    assert "job.toml: not valid TOML: " in complaint('name = "a"\nstop = ')
    assert "line 2" in complaint('name = "a"\nstop = ')
    assert "line 2" in complaint('name = "a"\nstop\n')
    assert "nested too deeply" in complaint("a = " + "[" * 10_000)


def test_tables_in_one_another_have_a_bound_whichever_way_they_are_written() -> None:
    expected = "job.toml: device: nested more than 64 deep; make it flatter"
    assert complaint(f'name = "mnist"\n[device]\n{".".join("a" * 3000)} = 1\n') == expected
    assert complaint(f'name = "mnist"\n[device]\na = {"[" * 70}{"]" * 70}\n') == expected


def test_what_is_shown_of_a_value_is_bounded() -> None:
    assert len(complaint(f'name = "{"x" * 100_000}"{STOP}')) < 200
    assert len(complaint(f'name = "mnist"\n{"x" * 100_000} = 1{STOP}')) < 400


def test_every_setting_is_explained_above_its_line() -> None:
    source = Path(spec_module.__file__).read_text()
    lines = source.splitlines()
    sections = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ClassDef)]
    settings = [node.lineno for section in sections for node in section.body if isinstance(node, ast.AnnAssign)]
    assert len(settings) > 30
    assert [lines[at - 1] for at in settings if not lines[at - 2].strip().startswith("#:")] == []


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ('name = "sgd"\nmomentum = 0.9', SgdOptimizer(momentum=0.9)),
        ('name = "adam"\nbeta2 = 0.9', AdamOptimizer(beta2=0.9)),
        ('name = "yogi"', YogiOptimizer()),
        ('name = "adagrad"\nlearning_rate = 0.1', AdagradOptimizer(learning_rate=0.1)),
    ],
)
def test_the_name_of_the_optimizer_chooses_its_settings(table: str, expected: Optimizer) -> None:
    found = spec(f"[optimizer]\n{table}").optimizer
    assert found == expected
    assert optimizer_of(found).snapshot() == ()


@pytest.mark.parametrize(
    ("tables", "expected"),
    [
        ("[stop]\nversions = 3\nat_least = 1\nat_most = 2", "[stop]: set at_least or at_most, not both"),
        (
            '[stop]\nversions = 3\nmetric = "loss"',
            '[stop]: at_least or at_most is missing: at which value of "loss" does the job end?',
        ),
        (
            "[stop]\nversions = 3\nat_least = 1",
            "at_least and at_most under [stop] are bounds of a metric: set metric beside them",
        ),
        (
            "[stop]\nversions = 3\npatience = 5",
            "patience under [stop] counts versions without a better one: set metric under [evaluation]",
        ),
        (
            '[evaluation]\nevery = 0\nmetric = "loss"\n[stop]\nversions = 3',
            "[evaluation]: with every = 0 nothing is measured, so no metric can make a version the best",
        ),
    ],
)
def test_rules_that_measure_need_a_metric(tables: str, expected: str) -> None:
    assert complaint(f'name = "mnist"\n{tables}\n') == f"job.toml: {expected}"


def test_the_target_is_of_the_metric_that_makes_a_version_the_best_unless_another_is_named() -> None:
    found = decode_toml(
        'name = "m"\n[evaluation]\nmetric = "loss"\ngoal = "min"\n[stop]\nversions = 3\nat_most = 0.1\npatience = 4',
        JobSpec,
        "job.toml",
    )
    expected = Ranking("loss", higher=False, patience=4, target=Target("loss", at_most=0.1))
    assert ranking_of(found.evaluation, found.stop) == expected
    other = decode_toml('name = "m"\n[stop]\nversions = 3\nmetric = "f1"\nat_least = 0.9', JobSpec, "job.toml")
    assert ranking_of(other.evaluation, other.stop) == Ranking(target=Target("f1", at_least=0.9))
