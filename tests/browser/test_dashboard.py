"""The dashboard in a real browser, against a control whose jobs never ran: every page, and what one can do there."""

import re
import time

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.browser.conftest import Watched
from tests.browser.fake import NO_ZIP, FakeControl, FakeJob

pytestmark = pytest.mark.slow


DROP = """() => {
    const dataTransfer = new DataTransfer();
    dataTransfer.items.add(new File(["PK!!"], "dropped.zip"));
    for (const kind of ["dragover", "drop"]) {
        document.body.dispatchEvent(new DragEvent(kind, { dataTransfer, bubbles: true, cancelable: true }));
    }
}"""
RANGE_MS = "(plot) => { const [from, to] = plot.layout.xaxis.range; return to - from; }"
MARKUP = "<img src=x onerror=alert(1)>"


def training(control: FakeControl) -> FakeJob:
    """A job that has been training for five minutes."""
    return control.add(FakeJob("digits-1", time.time() - 300, 300))


@pytest.fixture
def job(control: FakeControl) -> FakeJob:
    return training(control)


def open_job(watched: Watched, control: FakeControl, job_id: str = "digits-1") -> Page:
    watched.page.goto(f"{control.url}/#/jobs/{job_id}")
    expect(watched.page.locator(".tile").first).to_be_visible()
    return watched.page


def tile(page: Page, name: str) -> str:
    return page.locator(f".tile:has(dt:text-is('{name}')) .big").inner_text()


def chart(page: Page, title: str) -> Locator:
    return page.locator(".chart", has=page.get_by_role("heading", name=title))


def test_the_list_shows_every_job_with_its_state(watched: Watched, control: FakeControl, job: FakeJob) -> None:
    done = control.add(FakeJob("digits-2", time.time() - 900, 60))
    control.end(done, "completed", "reached version 50")
    page = watched.page
    page.goto(control.url)
    row = page.get_by_role("row", name="digits-1")
    expect(row).to_contain_text("training")
    expect(row).to_contain_text("updates for version")
    expect(page.get_by_role("row", name="digits-2")).to_contain_text("reached version 50")
    page.get_by_role("link", name="digits-1").click()
    expect(page.get_by_role("heading", name="digits-1", level=1)).to_be_focused()
    assert watched.errors == []


def test_an_empty_list_says_how_to_begin(watched: Watched, control: FakeControl) -> None:
    watched.page.goto(control.url)
    expect(watched.page.get_by_text("turnout submit FOLDER")).to_be_visible()
    assert watched.errors == []


def test_numbers_and_words_move_with_each_sample(watched: Watched, control: FakeControl, job: FakeJob) -> None:
    page = open_job(watched, control)
    expect(page.locator(".waiting")).to_contain_text("updates for version")
    before = int(tile(page, "Version"))
    page.wait_for_function("document.querySelector('#connection').textContent === 'live'")
    while not job.listeners:
        page.wait_for_timeout(10)
    control.advance(job, 60)
    assert job.course.version > before
    expect(page.locator(".tile .big").first).to_have_text(str(job.course.version))
    expect(page.locator(".waiting")).to_contain_text(f"updates for version {job.course.version + 1}")
    assert watched.errors == []


def test_tiles_and_tables_show_one_account_of_the_job(watched: Watched, control: FakeControl, job: FakeJob) -> None:
    """And not a later sample beside it, which tells only of some."""
    page = open_job(watched, control)
    while not job.listeners:
        page.wait_for_timeout(10)
    later = {**job.course.samples[-1], "at": job.course.now + 1, "counted": 10**9, "refused": {"too_stale": 10**9}}
    control.tell(job, "sample", later)
    control.tell(job, "event", {"at": job.course.now + 1, "kind": "warning", "text": "the sample has come"})
    expect(page.get_by_text("the sample has come")).to_be_visible()
    counted = tile(page, "Updates counted")
    assert counted == f"{job.course.samples[-1]['counted']:,}"
    expect(page.get_by_role("row", name="counted", exact=False).first).to_contain_text(counted)
    assert watched.errors == []


def test_charts_are_drawn_under_the_strict_policy(watched: Watched, drawing: FakeControl) -> None:
    training(drawing)
    page = open_job(watched, drawing)
    titles = [
        "Latency of requests",
        "Until a result is acknowledged",
        "Traffic per second",
        "accuracy",
        "loss",
        "Versions per hour",
        "Devices",
        "Results per second",
        "Staleness",
        "Requests per second",
    ]
    for title in titles:
        drawn = chart(page, title)
        drawn.scroll_into_view_if_needed()
        expect(drawn.locator(".trace, .point").first).to_be_attached()
    chart(page, "Devices").locator(".plot").hover()
    expect(page.locator(".hoverlayer .legend, .hoverlayer .hovertext").first).to_be_attached()
    assert watched.errors == []


def test_metrics_are_drawn_by_version_or_by_time(watched: Watched, drawing: FakeControl) -> None:
    training(drawing)
    page = open_job(watched, drawing)
    accuracy = chart(page, "accuracy")
    expect(accuracy.locator(".xtitle")).to_have_text("version")
    page.get_by_text("by time").click()
    expect(accuracy.locator(".xtitle")).to_have_text("minutes since the start")
    assert watched.errors == []


def test_two_jobs_are_drawn_on_one_chart(watched: Watched, drawing: FakeControl) -> None:
    training(drawing)
    other = drawing.add(FakeJob("digits-2", time.time() - 900, 200, seed=1))
    page = open_job(watched, drawing)
    page.get_by_label("Compare with").select_option("digits-2")
    expect(chart(page, "accuracy").locator(".legend li .name")).to_have_text(["digits-1", "digits-2"])
    expect(chart(page, "accuracy").locator(".scatterlayer .trace")).to_have_count(2)
    other.course.advance(60)
    newest = other.course.events[-1]["metrics"]["accuracy"]
    expect(chart(page, "accuracy").locator(".legend .value").last).to_have_text(f"{newest:.4f}")
    page.reload()
    expect(page.get_by_label("Compare with")).to_have_value("digits-2")
    assert watched.errors == []


def test_a_job_is_cancelled_only_after_a_yes(watched: Watched, control: FakeControl, job: FakeJob) -> None:
    page = open_job(watched, control)
    cancel = page.get_by_role("button", name="Cancel job…")
    cancel.click()
    expect(page.get_by_role("button", name="Keep it running")).to_be_focused()
    page.keyboard.press("Escape")
    expect(cancel).to_be_focused()
    assert job.asked == []
    cancel.click()
    page.get_by_role("button", name="Cancel the job").click()
    expect(page.locator(".title .badge")).to_have_text("cancelled")
    assert job.asked == ["cancel"]
    assert watched.errors == []


def test_a_job_that_has_ended_shows_its_whole_course(watched: Watched, drawing: FakeControl) -> None:
    job = training(drawing)
    drawing.end(job, "completed", "reached version 25")
    page = open_job(watched, drawing)
    expect(page.locator(".waiting")).to_have_text("reached version 25")
    expect(page.get_by_role("table", name="The newest versions").locator("tbody tr")).to_have_count(10)
    expect(chart(page, "accuracy").locator(".trace").first).to_be_attached()
    page.get_by_text("by time").click()
    expect(chart(page, "accuracy").locator(".xtitle")).to_have_text("minutes since the start")
    assert watched.errors == []


def test_totals_of_a_failed_job_are_those_of_its_last_version(
    watched: Watched, control: FakeControl, job: FakeJob
) -> None:
    job.course.add("published", version=job.course.version + 1, counted=5000)
    control.end(job, "failed", "its journal is damaged")
    page = open_job(watched, control)
    expect(page.locator(".tile .big").first).to_have_text(str(job.course.version + 1))
    assert tile(page, "Updates counted") == "5,000"
    assert page.get_by_role("row", name="counted").first.inner_text().split("\t")[1] == "5,000"
    assert watched.errors == []


def test_the_charts_of_an_ended_job_end_with_it_and_say_nothing_of_now(watched: Watched, drawing: FakeControl) -> None:
    job = drawing.add(FakeJob("digits-1", time.time() - 300, 8))
    drawing.end(job, "completed", "reached version 1")
    page = open_job(watched, drawing)
    devices = chart(page, "Devices")
    devices.scroll_into_view_if_needed()
    expect(devices.locator(".trace").first).to_be_attached()
    expect(devices.locator(".legend .value").first).to_have_text("")
    shown_ms = devices.locator(".plot").evaluate(RANGE_MS)
    assert shown_ms == 7000
    assert watched.errors == []


def test_a_failed_job_is_started_again(watched: Watched, control: FakeControl, job: FakeJob) -> None:
    control.end(job, "failed", "its process failed 5 times in a row without progress")
    page = open_job(watched, control)
    expect(page.locator(".waiting")).to_contain_text("failed 5 times")
    page.get_by_role("button", name="Start again").click()
    expect(page.locator(".title .badge")).to_have_text("training")
    expect(page.get_by_role("button", name="Start again")).to_be_hidden()
    assert job.asked == ["start"]
    assert watched.errors == []


def test_a_job_that_only_a_backup_helps_is_not_started_again(
    watched: Watched, control: FakeControl, job: FakeJob
) -> None:
    control.end(job, "failed", "its journal is damaged; restore a backup with: turnout restore digits-1 FILE")
    page = open_job(watched, control)
    expect(page.get_by_role("button", name="Delete…")).to_be_visible()
    expect(page.get_by_role("button", name="Start again")).to_be_hidden()
    assert watched.errors == []


def test_the_reason_why_a_disk_is_full_is_said_once(watched: Watched, control: FakeControl, job: FakeJob) -> None:
    job.state = "FULL"
    full = "the budget is used up: {} bytes and 9 more exceed 5"
    words = {"state": "FULL", "waiting_for": f"the disk, so that nothing is acknowledged: {full.format(11)}"}
    job.course.samples[-1] |= {**words, "warnings": ["evaluation failed", f"a commit failed: {full.format('1,007')}"]}
    page = open_job(watched, control)
    expect(page.locator(".waiting")).to_contain_text("the budget is used up")
    expect(page.locator(".warnings").first.locator("li")).to_have_text(["evaluation failed"])
    assert watched.errors == []


def test_a_job_without_devices_is_not_said_to_train(watched: Watched, control: FakeControl, job: FakeJob) -> None:
    job.course.samples[-1]["training"] = 0
    page = open_job(watched, control)
    expect(page.locator(".title .badge")).to_have_text("waits for devices")
    assert watched.errors == []


def test_a_job_is_paused_and_resumed(watched: Watched, control: FakeControl, job: FakeJob) -> None:
    page = open_job(watched, control)
    page.get_by_role("button", name="Pause").click()
    page.wait_for_function("document.querySelector('.actions button').disabled === false")
    while not job.listeners:
        page.wait_for_timeout(10)
    control.advance(job)
    expect(page.locator(".title .badge")).to_have_text("paused by a person")
    page.get_by_role("button", name="Resume").click()
    while job.asked != ["pause", "resume"]:
        page.wait_for_timeout(10)
    control.advance(job)
    expect(page.locator(".title .badge")).to_have_text("training")
    assert watched.errors == []


def test_what_a_paused_job_waits_for_reads_as_a_sentence(watched: Watched, control: FakeControl, job: FakeJob) -> None:
    job.state, job.paused_by = "PAUSED", "person"
    words = {"waiting_for": "a person, who paused it 4 min ago and may resume it"}
    job.course.samples[-1] |= {**words, "state": "PAUSED", "paused_by": "person"}
    page = open_job(watched, control)
    expect(page.locator(".now h2")).to_have_text("Waits for")
    expect(page.locator(".waiting")).to_contain_text("a person, who paused it")
    expect(page.locator(".title .badge")).to_have_text("paused by a person")
    page.goto(control.url)
    expect(page.locator(".wait")).to_have_text("Waits for: a person, who paused it 4 min ago and may resume it")
    assert watched.errors == []


def test_models_are_downloaded(watched: Watched, control: FakeControl, job: FakeJob) -> None:
    page = open_job(watched, control)
    page.get_by_role("button", name="Download…").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="npz").first.click()
    assert download.value.suggested_filename == "digits-1-newest.npz"
    assert job.asked == ["model version=newest&format=npz"]
    assert watched.errors == []


def test_what_devices_and_jobs_say_is_never_markup(watched: Watched, control: FakeControl, job: FakeJob) -> None:
    job.course.add("warning", text=MARKUP)
    page = open_job(watched, control)
    expect(page.get_by_text(MARKUP)).to_be_visible()
    assert page.locator("img").count() == 0
    assert watched.errors == []


def test_the_theme_follows_the_system_or_the_choice(browser: Browser, control: FakeControl, job: FakeJob) -> None:
    context = browser.new_context(color_scheme="dark")
    watched = Watched(context.new_page())
    page = open_job(watched, control)

    def background() -> str:
        return str(page.evaluate("getComputedStyle(document.body).backgroundColor"))

    dark = background()
    page.get_by_label("Theme").select_option("light")
    light = background()
    assert light != dark
    page.reload()
    assert background() == light
    context.close()
    assert watched.errors == []


def test_the_commands_of_an_empty_list_are_whole_on_a_phone(browser: Browser, control: FakeControl) -> None:
    page = browser.new_page(viewport={"width": 390, "height": 844})
    page.goto(control.url)
    expect(page.locator(".empty pre")).to_be_visible()
    assert page.locator(".empty pre").evaluate("(pre) => pre.scrollWidth - pre.clientWidth") == 0
    page.close()


@pytest.mark.parametrize("path", ["", "#/jobs/digits-1"])
def test_a_page_fits_a_phone(path: str, browser: Browser, control: FakeControl, job: FakeJob) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True)
    page = context.new_page()
    page.goto(f"{control.url}/{path}")
    expect(page.get_by_text("updates for version").first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    context.close()


def test_the_keyboard_reaches_everything(watched: Watched, control: FakeControl, job: FakeJob) -> None:
    page = open_job(watched, control)
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    reached = []
    for _ in range(7):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.textContent.trim() || document.activeElement.value"))
    assert reached[:4] == ["All jobs", "Pause", "Download…", "Cancel job…"]
    assert reached[4] == "version"
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"


def test_a_control_that_is_away_is_said_so_and_found_again(watched: Watched) -> None:
    control = FakeControl()
    job = training(control)
    with control.serving():
        page = open_job(watched, control)
        expect(page.locator("#connection")).to_have_text("live")
        port = int(control.url.rpartition(":")[2])
    expect(page.locator("#banner")).to_contain_text("Control does not answer")
    expect(page.get_by_role("button", name="Pause")).to_be_disabled()
    expect(page.get_by_role("button", name="Cancel job…")).to_be_disabled()
    assert int(tile(page, "Version")) == job.course.version
    job.course.advance(60)
    with control.serving(port):
        expect(page.locator("#connection")).to_have_text("live")
        expect(page.locator("#banner")).to_be_hidden()
        expect(page.get_by_role("button", name="Pause")).to_be_enabled()
        expect(page.locator(".tile .big").first).to_have_text(str(job.course.version))
    assert [error for error in watched.errors if not re.search("net::ERR_", error)] == []


def test_without_plotly_numbers_and_tables_work(watched: Watched, control: FakeControl, job: FakeJob) -> None:
    page = open_job(watched, control)
    expect(page.get_by_text("pip install 'turnout[dashboard]'")).to_be_visible()
    expect(chart(page, "Devices").locator(".value").first).not_to_be_empty()
    expect(page.get_by_role("table", name="The newest versions")).to_be_visible()
    assert watched.errors == []


def test_a_link_signs_the_browser_in_once_and_for_every_tab(
    watched: Watched, control: FakeControl, job: FakeJob
) -> None:
    control.token = "turnout_secret"
    page = watched.page
    page.goto(f"{control.url}/#/login/code")
    expect(page.get_by_role("link", name="digits-1")).to_be_visible()
    assert page.url == f"{control.url}/#/"
    other = page.context.new_page()
    other.goto(f"{control.url}/#/jobs/digits-1")
    expect(other.locator(".waiting")).to_contain_text("updates for version")
    assert watched.errors == []
    page.goto(f"{control.url}/#/login/code")
    expect(page.get_by_text("this does not open anything.")).to_be_visible()


def test_no_script_can_read_the_whole_session(watched: Watched, control: FakeControl, job: FakeJob) -> None:
    control.token = "turnout_secret"
    watched.page.goto(f"{control.url}/#/login/code")
    expect(watched.page.get_by_role("link", name="digits-1")).to_be_visible()
    assert watched.page.evaluate("document.cookie") == ""


def test_a_token_is_asked_for_once(watched: Watched, control: FakeControl, job: FakeJob) -> None:
    control.token = "turnout_secret"
    page = watched.page
    page.goto(f"{control.url}/#/jobs/digits-1")
    expect(page.get_by_text("turnout open")).to_be_visible()
    page.get_by_role("textbox", name="Token").fill("turnout_wrong")
    page.keyboard.press("Enter")
    expect(page.get_by_text("this does not open anything")).to_be_visible()
    expect(page.locator("#connection")).to_have_text("")
    page.get_by_role("textbox", name="Token").fill("turnout_secret")
    page.keyboard.press("Enter")
    expect(page.locator(".waiting")).to_contain_text("updates for version")
    page.goto(f"{control.url}/#/")
    expect(page.get_by_role("link", name="digits-1")).to_be_visible()
    page.goto(f"{control.url}/#/jobs/digits-1")
    page.get_by_role("button", name="Download…").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="safetensors").first.click()
    assert download.value.path().read_bytes() == b"model"
    assert [error for error in watched.errors if "401" not in error] == []


def test_a_job_that_is_not_there_is_said_so(watched: Watched, control: FakeControl) -> None:
    watched.page.goto(f"{control.url}/#/jobs/nope")
    expect(watched.page.get_by_text("There is no job nope here")).to_be_visible()
    expect(watched.page.locator("#connection")).to_have_text("")
    watched.page.get_by_role("link", name="See all jobs").click()
    expect(watched.page.get_by_role("heading", name="Jobs")).to_be_visible()
    expect(watched.page.locator("#connection")).to_have_text("live")


def test_a_job_folder_is_handed_in_by_keyboard(watched: Watched, control: FakeControl) -> None:
    control.token = "turnout_secret"
    page = watched.page
    page.goto(control.url)
    page.get_by_role("textbox", name="Token").fill("turnout_secret")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Submit a job…").press("Enter")
    expect(page.get_by_label("Zip of a job folder")).to_be_focused()
    expect(page.get_by_role("button", name="Submit it")).to_be_disabled()
    page.get_by_label("Zip of a job folder").set_input_files({"name": "job.zip", "mimeType": "", "buffer": b"PK..."})
    expect(page.locator("#chosen")).to_have_text("job.zip, 5 B")
    page.get_by_role("button", name="Submit it").press("Enter")
    expect(page.get_by_role("heading", name="submitted", level=1)).to_be_focused()
    assert control.submitted == [b"PK..."]
    assert [error for error in watched.errors if "401" not in error] == []


def test_what_is_wrong_with_a_job_folder_is_said_in_the_words_of_the_api(
    watched: Watched, control: FakeControl
) -> None:
    page = watched.page
    page.goto(control.url)
    page.get_by_role("button", name="Submit a job…").click()
    chosen = page.get_by_label("Zip of a job folder")
    chosen.set_input_files({"name": "job.toml", "mimeType": "", "buffer": b"name = 'a'"})
    page.get_by_role("button", name="Submit it").click()
    expect(page.get_by_role("alert").filter(has_text=NO_ZIP)).to_be_visible()
    chosen.set_input_files({"name": "job.zip", "mimeType": "", "buffer": b"PK..."})
    expect(page.get_by_role("alert").filter(has_text=NO_ZIP)).to_have_count(0)
    page.get_by_role("button", name="Submit it").click()
    expect(page.get_by_role("heading", name="submitted", level=1)).to_be_visible()
    assert [error for error in watched.errors if "422" not in error] == []


def test_a_zip_dropped_on_the_page_is_sent_only_after_a_yes(watched: Watched, control: FakeControl) -> None:
    page = watched.page
    page.goto(control.url)
    expect(page.get_by_text("No job yet")).to_be_visible()
    page.evaluate(DROP)
    expect(page.get_by_role("button", name="Submit it")).to_be_focused()
    expect(page.locator("#chosen")).to_have_text("dropped.zip, 4 B")
    assert control.submitted == []
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="submitted", level=1)).to_be_visible()
    assert control.submitted == [b"PK!!"]
    assert watched.errors == []


def test_jobs_that_need_a_person_come_first_and_are_in_the_title(watched: Watched, control: FakeControl) -> None:
    for number, state in enumerate(("FULL", "PAUSED", "OPEN", "OPEN")):
        job = control.add(FakeJob(f"digits-{number}", time.time() - 300 + number, 60))
        job.state, job.paused_by = state, "rounds" if state == "PAUSED" else None
    page = watched.page
    page.goto(control.url)
    expect(page.locator("tbody th a")).to_have_text(["digits-0", "digits-1", "digits-3", "digits-2"])
    expect(page.locator(".summary .badge")).to_have_text(["1 disk full", "1 paused below quorum", "2 training"])
    expect(page).to_have_title("1 disk full, 1 paused below quorum · turnout")
    assert watched.errors == []


def test_the_title_tells_the_job_and_its_state(watched: Watched, control: FakeControl, job: FakeJob) -> None:
    page = open_job(watched, control)
    expect(page).to_have_title(f"digits-1: training, version {job.course.version} · turnout")


def test_a_job_that_does_not_answer_is_told_apart_from_one_that_trains(
    watched: Watched, control: FakeControl, job: FakeJob
) -> None:
    job.view["fresh"] = False
    page = open_job(watched, control)
    expect(page.locator(".title .badge")).to_have_text("does not answer")
    expect(page.locator(".now")).to_contain_text("What is wrong")
    expect(page.locator(".waiting")).to_contain_text("If it has died or hangs it is started again")
    job.view["reason"] = "its disk is full; it is tried again in 10 s"
    expect(page.locator(".waiting")).to_have_text("its disk is full; it is tried again in 10 s")
    job.view |= {"fresh": True, "reason": ""}
    expect(page.locator(".title .badge")).to_have_text("training")
    assert watched.errors == []


def test_a_server_without_gateways_is_said_so(watched: Watched, control: FakeControl, job: FakeJob) -> None:
    control.checks["gateway"] = False
    page = open_job(watched, control)
    expect(page.get_by_role("alert")).to_contain_text("No gateway reports, so no device gets an answer")
    control.checks["gateway"] = True
    expect(page.locator("#banner")).to_be_hidden()
    assert [error for error in watched.errors if "503" not in error] == []


def test_the_log_of_a_failed_job_ends_with_why(watched: Watched, control: FakeControl, job: FakeJob) -> None:
    control.end(job, "failed", "its process failed 5 times in a row without progress")
    page = open_job(watched, control)
    expect(page.locator(".events li").first).to_contain_text("Failed: its process failed 5 times")


def test_every_control_has_a_name(watched: Watched, control: FakeControl, job: FakeJob) -> None:
    page = open_job(watched, control)
    for button in (None, "Download…", "Cancel job…"):
        if button:
            page.get_by_role("button", name=button).click()
        nameless = page.get_by_role("button").or_(page.get_by_role("combobox")).or_(page.get_by_role("link"))
        names = [found.aria_snapshot() for found in nameless.all()]
        assert names
        assert not [
            name for name in names if re.fullmatch(r"- (button|combobox|link)( \[.*\])?:?", name.splitlines()[0])
        ]
        page.keyboard.press("Escape")


def test_a_failing_evaluation_is_said_on_the_list_and_on_the_page(
    watched: Watched, control: FakeControl, job: FakeJob
) -> None:
    words = "evaluation fails since version 3 (126 times): KeyError: 'x'"
    fails = {"since": 3, "last": 130, "times": 126, "error": "KeyError: 'x'"}
    job.course.samples[-1] |= {"evaluation_fails": fails, "warnings": [words], "metrics_version": 2}
    page = open_job(watched, control)
    expect(page.locator(".title .badge")).to_have_text("training, evaluation fails")
    expect(page.locator(".title .badge")).to_have_class("badge warn")
    expect(page.locator(".warnings").first).to_contain_text(words)
    page.goto(control.url)
    expect(page.locator(".trouble")).to_have_text(words)
    expect(page.locator(".jobs .unit")).to_have_text("accuracy, version 2")
    job.view |= {"state": "completed", "finished_at": time.time()}
    page.reload()
    expect(page.locator("td .badge")).to_have_text("completed, evaluation failed")
    assert watched.errors == []


def test_the_spare_results_of_rounds_are_not_refused(watched: Watched, control: FakeControl, job: FakeJob) -> None:
    job.course.samples[-1] |= {"refused": {"too_stale": 16, "norm": 1}}
    shown = job.shown
    job.shown = lambda: {**shown(), "status": {**shown()["status"], "workflow": "rounds"}}  # type: ignore[method-assign]
    page = open_job(watched, control)
    expect(page.get_by_role("rowheader", name="spare: after its round had enough")).to_be_visible()
    expect(page.get_by_role("rowheader", name="refused: norm")).to_be_visible()
    assert watched.errors == []


def test_the_initial_model_may_be_the_best(watched: Watched, control: FakeControl, job: FakeJob) -> None:
    """Its version is 0, which the answer leaves out."""
    shown = job.shown

    def at_first() -> dict[str, object]:
        status = {**shown()["status"], "best_metric": 0.571}
        status.pop("best_version", None)
        return {**shown(), "status": status}

    job.shown = at_first  # type: ignore[method-assign]
    page = open_job(watched, control)
    expect(page.locator(".tiles")).to_contain_text("best 0.5710 of 0")
    page.get_by_role("button", name="Download…").click()
    expect(page.locator(".downloads")).to_contain_text("Best modelversion 0, 0.5710")
    assert watched.errors == []
