"""The doctor says of each thing that it is well, or what is wrong and how to mend it."""

import socket
from pathlib import Path

import pytest

from turnout.cli import doctor, installed
from turnout.cli.findings import Finding, line

HERE = Path("/srv/turnout")


def well(finding: Finding) -> bool:
    """Whether it is; if not, there must be advice."""
    assert finding.ok != bool(finding.advice)
    return finding.ok


def test_a_line_says_ok_or_what_to_do() -> None:
    assert line(Finding("clock", True, "12:00 UTC")) == "ok     clock         12:00 UTC"
    assert line(Finding("clock", False, "off", "set it")) == "WRONG  clock         off: set it"


def test_the_limit_of_open_files_bounds_the_devices() -> None:
    assert well(doctor.open_files(None))
    assert well(doctor.open_files(1024))
    assert not well(doctor.open_files(1023))
    assert "LimitNOFILE=" in doctor.open_files(256).advice


def test_the_first_folder_that_is_fit_gets_the_sockets() -> None:
    first, second = (Path("/run/user/1000/turnout"), ""), (Path("/tmp/turnout-1000"), "cannot be written")
    assert well(doctor.sockets([first, second], HERE))
    assert doctor.sockets([second, first], HERE).found.startswith("in /run/user/1000/turnout")


def test_sockets_beside_the_data_are_the_last_resort_and_the_way_out_is_named() -> None:
    unfit = [(Path("/tmp/turnout-1000"), "cannot make the folder /tmp/turnout-1000: Read-only file system")]
    found = doctor.sockets(unfit, HERE)
    assert not well(found)
    assert "Read-only file system" in found.found
    assert "will lie in /srv/turnout/run" in found.found
    assert "XDG_RUNTIME_DIR" in found.advice
    assert "/run has 108 bytes, and 59 are allowed" in doctor.sockets(unfit, Path("/srv" + "/long" * 20 + "/")).found


def test_a_data_folder_that_others_may_open_is_wrong() -> None:
    assert well(doctor.who_may_open(HERE, []))
    found = doctor.who_may_open(HERE, [HERE / "jobs", HERE / "control.sqlite"])
    assert not well(found)
    assert found.advice.endswith("chmod -R go= /srv/turnout/jobs /srv/turnout/control.sqlite")


def test_a_full_disk_and_a_disk_in_memory_are_wrong() -> None:
    assert well(doctor.free_disk(HERE, 2 << 30))
    assert not well(doctor.free_disk(HERE, 5 << 20))
    assert well(doctor.kind_of_disk(HERE, "ext4"))
    assert well(doctor.kind_of_disk(HERE, ""))
    assert not well(doctor.kind_of_disk(HERE, "tmpfs"))


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "9p", "fuse.sshfs", "fuse.s3fs", "ceph"])
def test_a_disk_of_another_machine_is_wrong(kind: str) -> None:
    found = doctor.kind_of_disk(HERE, kind)
    assert not well(found)
    assert found.found == f"/srv/turnout lies on a network file system ({kind})"


@pytest.mark.parametrize("kind", ["ext4", "xfs", "overlay", "fuseblk", "fuse.fuse-overlayfs", "virtiofs", ""])
def test_a_disk_of_this_machine_is_well(kind: str) -> None:
    assert well(doctor.kind_of_disk(HERE, kind))


def test_a_slow_disk_is_wrong_and_one_slow_write_is_not() -> None:
    assert well(doctor.sync_times(HERE, [0.001, 0.002, 0.9]))
    assert doctor.sync_times(HERE, [0.001, 0.002, 0.9]).found == (
        "a write reaches the disk in 2.00 ms (median), 900.0 ms at most"
    )
    assert not well(doctor.sync_times(HERE, [0.1, 0.2, 0.3]))


def test_a_clock_that_was_set_while_we_looked_is_wrong() -> None:
    assert well(doctor.drift(0.01))
    assert not well(doctor.drift(-3600.0))


def test_a_clock_before_the_installation_is_wrong() -> None:
    assert well(installed.clock(now=2000.0, made=1000.0))
    behind = installed.clock(now=0.0, made=86400.0)
    assert not well(behind)
    assert behind.found == "it is 1970-01-01 00:00:00 UTC, which is before turnout was installed here (1970-01-02)"


def test_missing_and_old_packages_are_named() -> None:
    assert well(installed.packages(["numpy>=1.0", 'nothing-of-that-name>=1; extra == "test"']))
    wrong = installed.packages(["numpy>=999.0", "nothing-of-that-name>=1"])
    assert not well(wrong)
    assert "must be 999.0, nothing-of-that-name is missing" in wrong.found


def test_a_port_of_another_program_is_wrong(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        findings = {finding.name: finding for finding in doctor.examine(port, 0, tmp_path / "data")}
    assert not well(findings[f"port {port}"])
    assert "--port" in findings[f"port {port}"].advice
    assert well(findings["a free port"])
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("version", ["1.26.4", "1.26.4rc1", "1.26.4.post2"])
def test_versions_compare_number_by_number(version: str) -> None:
    assert installed.numbers(version)[:3] == (1, 26, 4)
