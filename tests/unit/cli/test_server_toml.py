"""A server's settings from a file: paths beside it, options before it, and one line for what is wrong."""

from pathlib import Path

import pytest

from turnout.cli import server, server_toml
from turnout.errors import UsageError


def written(folder: Path, text: str) -> Path:
    path = folder / "server.toml"
    path.write_text(text)
    return path


def test_without_a_file_all_is_as_without_options() -> None:
    assert server_toml.read(None) == server_toml.ServerFile()


def test_paths_are_relative_to_the_folder_of_the_file(tmp_path: Path) -> None:
    text = 'data = "data"\n[devices]\ntls_cert = "cert.pem"\ntls_key = "/etc/key.pem"\n'
    found = server_toml.read(written(tmp_path, text))
    assert (found.data, found.devices.tls_cert) == (str(tmp_path / "data"), str(tmp_path / "cert.pem"))
    assert found.devices.tls_key == "/etc/key.pem"


def test_a_path_may_begin_with_the_home_folder(tmp_path: Path) -> None:
    found = server_toml.read(written(tmp_path, 'data = "~/data"\n[devices]\ntls_cert = "~/cert.pem"\n'))
    home = Path.home()
    assert (found.data, found.devices.tls_cert) == (str(home / "data"), str(home / "cert.pem"))


def test_what_is_set_reaches_the_supervisor(tmp_path: Path) -> None:
    text = "gateways = 3\n[devices]\nport = 0\ngrpc_port = 0\n[api]\nport = 0\n[limits]\nresult_bytes_max = 1000\n"
    settings = server._settings(server_toml.read(written(tmp_path, text)), tmp_path)
    assert (settings.gateways, settings.control_port, settings.devices.port, settings.devices.grpc_port) == (3, 0, 0, 0)
    assert settings.devices.limits.result_bytes_max == 1000


def test_an_option_takes_precedence_over_the_file(tmp_path: Path) -> None:
    found = server_toml.read(written(tmp_path, "[limits]\nhang_s = 9\nconnections_max = 7\n"))
    limits = server._given(found.limits, hang_s=5.0, result_bytes_max=None)
    assert (limits.hang_s, limits.connections_max) == (5.0, 7)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[limits]\nhang = 9\n", 'unknown setting limits.hang; did you mean "hang_s"?'),
        ("[limits]\nhang_s = 1\n", "limits.hang_s = 1: expected is a number, at least 3"),
        ("[devices]\nport = 99999\n", "devices.port = 99999: expected is an integer, at least 0 and at most 65535"),
        ("gateways = ", "not valid TOML"),
        ("gateways = 1025", "gateways = 1025: expected is an integer, at least 1 and at most 1024"),
        ('data = ""\n', 'data = "": expected is a path'),
        ('[devices]\ntls_key = ""\n', 'devices.tls_key = "": expected is a path'),
        ('data = "~nobody-has-this-name/data"\n', "no such account"),
    ],
)
def test_what_is_wrong_is_named_with_the_file(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(UsageError, match=r"server\.toml: ") as told:
        server_toml.read(written(tmp_path, text))
    assert said in str(told.value)


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.toml cannot be read: No such file"):
        server_toml.read(tmp_path / "none.toml")


@pytest.mark.parametrize("option", ["hang_s", "result_bytes_max"])
def test_an_option_has_the_same_bounds_as_the_setting(option: str, tmp_path: Path) -> None:
    file = server_toml.ServerFile()
    wrong = server._given(file, limits=server._given(file.limits, **{option: 0}))
    with pytest.raises(UsageError, match=f"--{option.replace('_', '-')} is not valid: expected"):
        server._settings(wrong, tmp_path)


@pytest.mark.parametrize(("gateways", "said"), [(0, "too few; give 1 or more"), (1025, "too many; give 1024 or fewer")])
def test_gateways_by_option_are_bounded_as_in_the_file(gateways: int, said: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"--gateways {gateways} is {said}"):
        server._settings(server._given(server_toml.ServerFile(), gateways=gateways), tmp_path)
