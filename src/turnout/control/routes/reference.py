"""The API describes itself: for programs as OpenAPI, for people as a page."""

from functools import cached_property
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from turnout.control import openapi, reference
from turnout.control.operations import Operation, Returned, json_response


class ReferenceRoutes:
    """``others`` are all other operations."""

    def __init__(self, others: list[Operation]) -> None:
        self._others = list(others)

    def operations(self) -> list[Operation]:
        return [
            Operation(
                "GET", "/api/openapi.json", self._document, "This API as an OpenAPI 3.1 document",
                Returned("The document.", dict[str, Any]), None,
            ),
            Operation(
                "GET", "/api/docs", self._page, "This API as a page",
                Returned("A page without scripts.", media_types=("text/html",)), None,
            ),
        ]  # fmt: skip

    @cached_property
    def document(self) -> dict[str, Any]:
        return openapi.document([*self._others, *self.operations()])

    async def _document(self, _: Request) -> Response:
        return json_response(self.document)

    async def _page(self, _: Request) -> Response:
        headers = {
            "Content-Security-Policy": reference.POLICY,
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cache-Control": "no-cache",
        }
        return HTMLResponse(reference.page(self.document), headers=headers)
