"""Our widget in a real FLARE: its server, its leaf client and its job processes, with FLARE's device simulator."""

import json
import subprocess
from pathlib import Path

from nvflare.fuel.flare_api.api_spec import MonitorReturnCode

from tests.flare.deployment import Deployment, job_of_numbers
from tests.flare.page import block
from tests.flare.test_simulator import COHORT, SIMULATION_S, SIMULATOR, VERSIONS


def test_a_flare_job_trains_to_its_end_with_our_widget(tmp_path: Path) -> None:
    """The component is that of docs/FLARE.md, and the change that it asks for is the only one."""
    flare = Deployment(tmp_path)
    flare.install(json.loads(block("json", "task_dispatcher")))
    (tmp_path / "simulator.json").write_text(block("json", "NumProcessor"))
    (tmp_path / "lcp.json").write_text(json.dumps({"site-1": {"host": "localhost", "port": flare.port}}))
    arguments = [str(tmp_path / "simulator.json"), "-m", str(tmp_path / "lcp.json"), "-c", str(flare.root_ca)]

    with flare.running() as session:
        job_id = session.submit_job(str(job_of_numbers(tmp_path / "jobs", VERSIONS, COHORT)))
        simulator = subprocess.Popen(
            [*SIMULATOR, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        try:
            assert session.monitor_job(job_id, timeout=SIMULATION_S) == MonitorReturnCode.JOB_FINISHED
            said, _ = simulator.communicate(timeout=SIMULATION_S)
        finally:
            simulator.kill()
            simulator.wait()
        assert session.get_job_meta(job_id)["status"] == "FINISHED:COMPLETED"

    assert simulator.returncode == 0
    assert f"job {job_id} is gone - exiting" in said
    assert said.count("finished training") >= (VERSIONS - 1) * COHORT
    assert "ERROR" not in flare.log
