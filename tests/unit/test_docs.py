"""The docs are complete and do not lie about what a machine can check."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

import turnout
from turnout.cli.commands import app
from turnout.job.folder.spec import JobSpec, RoundsTraining
from turnout.messages import Status

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
JOB_PAGE = (ROOT / "docs" / "JOB_FOLDER.md").read_text()


def toml_blocks() -> list[str]:
    return re.findall(r"```toml\n(.*?)```", JOB_PAGE, re.DOTALL)


def settings(struct: type[msgspec.Struct]) -> Iterator[str]:
    """Every key that job.toml may hold below ``struct``."""
    for field in msgspec.structs.fields(struct):
        yield field.encode_name
        for inner in _structs(field.type):
            yield from settings(inner)


def _structs(annotation: object) -> Iterator[type[msgspec.Struct]]:
    if isinstance(annotation, type) and issubclass(annotation, msgspec.Struct):
        yield annotation
    for inner in getattr(annotation, "__args__", ()):
        yield from _structs(inner)


@pytest.mark.parametrize("key", sorted(set(settings(JobSpec)) | set(settings(RoundsTraining))))
def test_every_setting_of_a_job_is_on_its_page(key: str) -> None:
    assert re.search(rf"(^|\W){key}( =|\W)", JOB_PAGE), key


def test_the_example_of_a_job_is_valid_as_it_stands() -> None:
    buffered, rounds = toml_blocks()
    spec = msgspec.convert(tomllib.loads(buffered), JobSpec)
    assert spec.name == "digits"
    changed = {**tomllib.loads(buffered), **tomllib.loads(rounds)}
    assert isinstance(msgspec.convert(changed, JobSpec).training, RoundsTraining)


def test_the_example_of_a_job_names_the_defaults() -> None:
    """So that a reader learns them; the settings of one's own (device, the norm's bound, stop rules) aside."""
    spec = msgspec.convert(tomllib.loads(toml_blocks()[0]), JobSpec)
    plain = msgspec.convert({"name": "digits", "stop": {"versions": 100, "time_s": 3600.0}}, JobSpec)
    training = msgspec.structs.replace(spec.training, update_norm_max=None)
    assert msgspec.structs.replace(spec, device={}, training=training) == plain


def test_the_version_is_that_of_the_newest_section_of_the_changelog() -> None:
    """As long as that is not released, its development."""
    heading = re.search(r"^## (\S+)( \(not released yet\))?", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert heading is not None
    assert turnout.__version__ == heading[1] + (".dev0" if heading[2] else "")


@pytest.mark.parametrize("command", [name for name in app if not name.startswith("-") and app[name].show])
def test_every_command_is_in_the_docs(command: str) -> None:
    assert any(f"turnout {command}" in page.read_text() for page in PAGES), command


@pytest.mark.parametrize("status", Status)
def test_every_status_is_in_the_protocol(status: str) -> None:
    assert f"`{status}`" in (ROOT / "docs" / "PROTOCOL.md").read_text()


def anchors(page: Path) -> set[str]:
    """What may stand after the # of a link to the page: its headings as GitHub spells them."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if not target.startswith("http"):
            path, _, anchor = target.partition("#")
            file = page.parent / path if path else page
            assert file.exists(), f"{page.name}: {target}"
            assert not anchor or anchor in anchors(file), f"{page.name}: {target}"


def test_every_page_is_linked_from_somewhere() -> None:
    linked = {
        (page.parent / target.partition("#")[0]).resolve()
        for page in PAGES
        for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text())
    }
    assert [page.name for page in PAGES if page not in linked and page.parent not in linked] == ["README.md"]


GLOSSARY = (ROOT / "docs" / "GLOSSARY.md").read_text()
DEFINED = re.findall(r"^\| \*\*(.+?)\*\* \|", GLOSSARY, re.MULTILINE)


@pytest.mark.parametrize("word", DEFINED)
def test_every_word_of_the_glossary_is_used_elsewhere(word: str) -> None:
    others = [page for page in PAGES if page.name not in ("GLOSSARY.md", "CHANGELOG.md")]
    spelled = word.replace(" ", "[ _\\-]")
    assert any(re.search(rf"\b{spelled}", page.read_text(), re.IGNORECASE) for page in others), word


def test_the_glossary_is_in_order_and_has_no_word_twice() -> None:
    assert sorted(set(DEFINED)) == DEFINED
    assert len(DEFINED) > 30


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_make_targets_that_are_named_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for block in re.findall(r"`([^`]+)`", page.read_text()):
        named = re.match(r"make ([a-z-]+)", block)
        assert named is None or named[1] in targets, block


def test_every_dependency_has_its_reason_beside_it() -> None:
    lines = (ROOT / "pyproject.toml").read_text().splitlines()
    dependencies = [line for line in lines if re.match(r'    "[a-z].*[><=].*"', line)]
    assert len(dependencies) > 10
    assert not [line for line in dependencies if "#" not in line]


def test_what_make_installs_for_people_draws_the_charts_of_the_dashboard() -> None:
    recipe = (ROOT / "Makefile").read_text().partition("$(STAMPS)/base:")[2].partition("\n\n")[0]
    assert '--editable ".[dashboard]"' in recipe
    assert '`pip install ".[dashboard]"`' in (ROOT / "README.md").read_text()


def test_each_decision_has_a_number_of_its_own_which_its_title_says() -> None:
    numbers = []
    for page in sorted((ROOT / "docs" / "decisions").glob("*.md")):
        numbers.append(int(page.name[:4]))
        assert re.match(rf"# 0*{numbers[-1]}[:.] ", page.read_text()), page.name
    assert numbers == list(range(1, len(numbers) + 1))


def test_a_reference_to_a_decision_by_its_number_leads_to_that_number() -> None:
    for page in PAGES:
        for shown, led in re.findall(r"\[(\d{4})\]\((?:decisions/)?(\d{4})-[^)]*\)", page.read_text()):
            assert shown == led, page
