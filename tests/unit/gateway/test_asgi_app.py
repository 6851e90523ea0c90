"""The bounds of a gateway within an ASGI server are set by variables."""

from typing import Any

import pytest

from turnout.errors import UsageError
from turnout.gateway.asgi_app import App, limits_of
from turnout.gateway.bounds import RESULT_BYTES_MAX, RESULT_BYTES_MOST, WEIGHTS_MODEL_BYTES_MAX
from turnout.gateway.limits import GatewayLimits


def test_the_bounds_are_those_of_every_gateway_unless_they_are_set() -> None:
    assert limits_of({}) == limits_of({"TURNOUT_RESULT_BYTES_MAX": ""}) == GatewayLimits()
    told = limits_of({"TURNOUT_RESULT_BYTES_MAX": "300000000"})
    assert (told.result_bytes_max, told.weights_model_bytes_max) == (300_000_000, WEIGHTS_MODEL_BYTES_MAX)
    told = limits_of({"TURNOUT_WEIGHTS_MODEL_BYTES_MAX": "1000"})
    assert (told.result_bytes_max, told.weights_model_bytes_max) == (RESULT_BYTES_MAX, 1000)


@pytest.mark.parametrize("text", ["0", "-1", "1e6", "256 MiB", " 5", "\u0663", str(RESULT_BYTES_MOST + 1), "9" * 5000])
def test_a_bound_that_is_none_is_refused_by_name(text: str) -> None:
    with pytest.raises(UsageError, match="TURNOUT_RESULT_BYTES_MAX must be a number of bytes from 1 to"):
        limits_of({"TURNOUT_RESULT_BYTES_MAX": text})


@pytest.mark.anyio
async def test_a_server_that_cannot_start_is_told_why_in_one_line() -> None:
    said = []

    async def receive() -> dict[str, Any]:
        return {"type": "lifespan.startup"}

    async def send(message: dict[str, Any]) -> None:
        said.append(message)

    await App({"TURNOUT_RESULT_BYTES_MAX": "many"})({"type": "lifespan"}, receive, send)
    (failed,) = said
    assert failed["type"] == "lifespan.startup.failed"
    assert failed["message"].startswith("TURNOUT_RESULT_BYTES_MAX must be")
