"""Where a server is reached."""

import socket

import pytest

from turnout.supervisor.entrance import address, reached_at


@pytest.mark.parametrize(
    ("host", "reached"), [("0.0.0.0", "127.0.0.1"), ("::", "[::1]"), ("127.0.0.1", "127.0.0.1"), ("::1", "[::1]")]
)
def test_a_browser_here_is_sent_to_an_address_that_it_may_go_to(host: str, reached: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as listening:
        port = listening.getsockname()[1]
        assert reached_at(listening) == f"{reached}:{port}"
        assert address(listening).endswith(f":{port}")
