"""Does a server for devices answer here? Asked once, before a fleet begins: it would otherwise be patient with none."""

from http import HTTPStatus

from turnout.device.http import HttpClient
from turnout.device.http_connection import HttpFailure
from turnout.errors import TurnoutError
from turnout.wire.edge_requests import HttpRequest

#: Changes nothing and counts nothing: a gateway says that the path takes POST only.
GREETING = HttpRequest("GET", "/job", (), b"")


async def greet(http: HttpClient, url: str) -> None:
    """Raises TurnoutError when nothing listens at ``url``, is not trusted, or knows nothing of devices."""
    try:
        reply = await http.request(GREETING)
    except HttpFailure as failure:
        if failure.reason == "connect":
            raise TurnoutError(f"nothing answers at {url}; start a server with: turnout up") from None
        if failure.reason == "certificate":
            raise
        return  # something is there: it may only be busy
    if reply.status == HTTPStatus.NOT_FOUND:
        raise TurnoutError(
            f"{url} knows nothing of devices (HTTP 404 for /job); is that the API? "
            "Give the address for devices, as turnout up prints it"
        )
