"""What a machine says of itself: shares of its cores, and where a folder lies."""

import socket
from pathlib import Path

import pytest

from turnout.process import machine


def cgroups(tmp_path: Path, own: str, **files: str) -> tuple[Path, Path]:
    """A machine's groups: this process's own, and files by their paths, with "__" for a slash and "_" for a dot."""
    (tmp_path / "own").write_text(own)
    for name, text in files.items():
        path = tmp_path / "cgroup" / name.replace("__", "/").replace("cpu_max", "cpu.max").replace("cpu_cfs", "cpu.cfs")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "own", tmp_path / "cgroup"


def test_a_quota_of_version_2_bounds_the_cores(tmp_path: Path) -> None:
    assert machine.cpu_quota(*cgroups(tmp_path, "0::/a/b\n", a__b__cpu_max="150000 100000\n")) == 1.5


def test_the_quota_of_a_group_further_up_counts_and_the_smallest_does(tmp_path: Path) -> None:
    found = cgroups(tmp_path, "0::/a/b\n", a__cpu_max="200000 100000\n", a__b__cpu_max="max 100000\n")
    assert machine.cpu_quota(*found) == 2.0


def test_in_a_container_the_root_is_its_own_group_whatever_its_path_is_outside(tmp_path: Path) -> None:
    assert machine.cpu_quota(*cgroups(tmp_path, "0::/docker/abc\n", cpu_max="50000 100000\n")) == 0.5


def test_a_quota_of_version_1_bounds_the_cores(tmp_path: Path) -> None:
    own = "5:cpu,cpuacct:/a\n4:memory:/a\n"
    files = {"cpu,cpuacct__a__cpu_cfs_quota_us": "300000\n", "cpu,cpuacct__a__cpu_cfs_period_us": "100000\n"}
    assert machine.cpu_quota(*cgroups(tmp_path, own, **files)) == 3.0


@pytest.mark.parametrize("text", ["max 100000", "", "many few", "100000 0"])
def test_without_a_quota_or_one_that_can_be_read_there_is_no_bound(tmp_path: Path, text: str) -> None:
    assert machine.cpu_quota(*cgroups(tmp_path, "0::/\n", cpu_max=text)) is None
    assert machine.cpu_quota(tmp_path / "missing", tmp_path) is None
    files = {"cpu__cpu_cfs_quota_us": "-1", "cpu__cpu_cfs_period_us": "100000"}
    assert machine.cpu_quota(*cgroups(tmp_path, "1:cpu:/\n", **files)) is None


def test_a_process_has_the_cores_that_it_may_run_on_and_that_its_quota_pays_for() -> None:
    assert machine.usable(affinity=8, quota=None) == 8
    assert machine.usable(affinity=8, quota=1.5) == 2
    assert machine.usable(affinity=2, quota=16.0) == 2
    assert machine.usable(affinity=8, quota=0.1) == 1
    assert machine.cores() >= 1


def test_the_file_system_is_that_of_the_deepest_mount(tmp_path: Path) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        "21 1 8:1 / / rw - ext4 /dev/sda1 rw\n"
        "22 21 0:5 / /tmp rw,nosuid shared:7 - tmpfs tmpfs rw\n"
        "23 21 8:2 / /with\\040space rw - xfs /dev/sdb1 rw\n"
    )
    assert machine.filesystem(Path("/srv/data"), mounts) == "ext4"
    assert machine.filesystem(Path("/tmp/data"), mounts) == "tmpfs"
    assert machine.filesystem(Path("/tmpdata"), mounts) == "ext4"
    assert machine.filesystem(Path("/with space/x"), mounts) == "xfs"
    assert machine.filesystem(Path("/x"), tmp_path / "missing") == ""


def test_writes_are_timed_and_leave_nothing(tmp_path: Path) -> None:
    assert len(machine.sync_times(tmp_path, 3)) == 3
    assert list(tmp_path.iterdir()) == []


def test_a_machine_is_named_by_what_stays_and_by_its_host_name_last(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()  # as in some containers
    (tmp_path / "id").write_text("0a1b\n")
    files = [tmp_path / "none", tmp_path / "empty"]
    assert machine.identity([*files, tmp_path / "id"], lambda: "of the kernel") == "0a1b"
    assert machine.identity(files, lambda: "of the kernel") == "of the kernel"
    assert machine.identity(files, lambda: "") == socket.gethostname()
