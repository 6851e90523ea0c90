"""What the doctor says of a certificate, made for the purpose."""

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme

from turnout.cli.certificates import Shown, examine, judge

AUTHORITY = trustme.CA()
NOW = 1_700_000_000.0
DAY_S = 86_400.0


def write(folder: Path, issued: trustme.LeafCert) -> tuple[Path, Path]:
    (folder / "key.pem").write_bytes(issued.private_key_pem.bytes())
    (folder / "cert.pem").write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))
    return folder / "cert.pem", folder / "key.pem"


def test_a_good_one_is_told_with_its_names_and_its_last_day(tmp_path: Path) -> None:
    last = datetime.now(UTC) + timedelta(days=60)
    issued = AUTHORITY.issue_cert("turnout.example", "10.0.0.1", not_after=last)
    finding = examine(*write(tmp_path, issued), time.time())
    assert finding.ok
    assert finding.found.endswith(f"is for turnout.example, 10.0.0.1, until {last:%Y-%m-%d}")


def test_one_that_has_ended_is_refused_as_by_any_client(tmp_path: Path) -> None:
    issued = AUTHORITY.issue_cert("turnout.example", not_after=datetime.now(UTC) - timedelta(days=1))
    finding = examine(*write(tmp_path, issued), time.time())
    assert not finding.ok
    assert "is refused by devices: certificate has expired" in finding.found


def test_files_that_are_none_are_told(tmp_path: Path) -> None:
    finding = examine(tmp_path / "a", tmp_path / "b", NOW)
    assert not finding.ok
    assert "cannot be read: No such file" in finding.found


def test_one_that_ends_within_two_weeks_is_to_be_renewed() -> None:
    assert judge(Path("c"), Shown(("a",), NOW + 15 * DAY_S), NOW).ok
    finding = judge(Path("c"), Shown(("a",), NOW + 13 * DAY_S), NOW)
    assert not finding.ok
    assert finding.found == "c is for a, until 2023-11-27"
    assert "renew it" in finding.advice


def test_one_without_a_name_is_of_no_use() -> None:
    finding = judge(Path("c"), Shown((), NOW + 99 * DAY_S), NOW)
    assert not finding.ok
    assert "subjectAltName" in finding.advice
