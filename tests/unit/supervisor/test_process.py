"""What a supervisor refuses before it takes anything."""

from pathlib import Path

import pytest

from turnout.errors import TurnoutError
from turnout.supervisor.entrance import EntranceSettings
from turnout.supervisor.process import Settings, Supervisor


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "turnout.example"])
def test_without_a_token_the_api_listens_on_this_machine_only(tmp_path: Path, host: str) -> None:
    with pytest.raises(TurnoutError, match="turnout token create"):
        Supervisor(Settings(EntranceSettings("127.0.0.1", 0), 0, tmp_path, 1, control_host=host))
    assert list(tmp_path.iterdir()) == []
