"""Our widget in a real FLARE: its server, its leaf client and its job processes, with FLARE's device simulator."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.flare.deployment import PATIENCE_S, Deployment, job_of_numbers
from tests.flare.page import block
from tests.flare.test_simulator import COHORT, SIMULATOR, VERSIONS


def test_a_flare_job_trains_to_its_end_with_our_widget(tmp_path: Path) -> None:
    """The component is that of docs/FLARE.md, and the change that it asks for is the only one."""
    flare = Deployment(tmp_path)
    flare.install(json.loads(block("json", "task_dispatcher")))
    (tmp_path / "simulator.json").write_text(block("json", "NumProcessor"))
    (tmp_path / "lcp.json").write_text(json.dumps({"site-1": {"host": "localhost", "port": flare.port}}))
    arguments = [str(tmp_path / "simulator.json"), "-m", str(tmp_path / "lcp.json"), "-c", str(flare.root_ca)]

    with flare.running() as session:
        job = job_of_numbers(tmp_path / "jobs", VERSIONS, COHORT, selected=2 * COHORT)
        job_id = session.submit_job(str(job))
        with open(tmp_path / "said", "w") as output:
            simulator = subprocess.Popen([*SIMULATOR, *arguments], stdout=output, stderr=subprocess.STDOUT)
        try:
            flare.wait_completed(session, job_id)
            simulator.wait(PATIENCE_S)
        finally:
            simulator.kill()
            simulator.wait()
            said = (tmp_path / "said").read_text()
            print(said, flare.log)

    assert simulator.returncode == 0
    assert f"job {job_id} is gone - exiting" in said
    assert said.count("finished training") >= (VERSIONS - 1) * COHORT
    assert "ERROR" not in flare.log
    assert any((tmp_path / "own" / "jobs").iterdir()), "its jobs are where no other FLARE looks for any"


def test_a_job_that_cannot_be_run_is_told_at_once(tmp_path: Path) -> None:
    """Its leaf client is to build a class that there is none of."""
    flare = Deployment(tmp_path)
    with flare.running() as session:
        job = job_of_numbers(tmp_path / "jobs", VERSIONS, COHORT, selected=2 * COHORT)
        config = next((job / "app" / "config").glob("config_fed_client*"))
        config.write_text(config.read_text().replace("NumDXOAggrFactory", "NoSuchFactory"))
        with pytest.raises(AssertionError, match=r"the job is FINISHED:\S+; the leaf client says"):
            flare.wait_completed(session, session.submit_job(str(job)))
