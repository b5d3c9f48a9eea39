"""An HTTP server that answers what a test scripts: for refusals that no stand-in makes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

from aiohttp import web
from aiohttp.test_utils import TestServer

ACCOUNT: dict[str, Any] = {
    "id": "scripted",
    "writableLocations": [],
    "readableLocations": [],
    "userConsistencyPolicy": {"defaultConsistencyLevel": "Session"},
}
CONTAINER: dict[str, Any] = {
    "id": "c",
    "_rid": "AAAAAA==",
    "_self": "dbs/d/colls/c/",
    "partitionKey": {"paths": ["/runId"], "kind": "Hash", "version": 2},
}


@dataclass(frozen=True)
class Reply:
    """One answer."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class ScriptedService:
    """Answers by method and path as rules say, the newest rule first; anything else is a healthy account.

    Attributes:
        requests: What was asked, as method, path and headers.
    """

    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    _rules: list[tuple[Callable[[str, str], bool], Reply]] = field(default_factory=list)
    _server: TestServer | None = None

    @property
    def url(self) -> str:
        """Its address."""
        assert self._server is not None
        return str(self._server.make_url("/"))

    def answer(self, method: str, path: str, reply: Reply) -> None:
        """Answer requests whose path contains ``path`` so."""
        self._rules.insert(0, (lambda asked, where: asked == method and path in where, reply))

    async def __aenter__(self) -> Self:
        application = web.Application()
        application.router.add_route("*", "/{tail:.*}", self._handle)
        self._server = TestServer(application)
        await self._server.start_server()
        return self

    async def __aexit__(self, *exc: object) -> None:
        assert self._server is not None
        await self._server.close()

    async def _handle(self, request: web.Request) -> web.Response:
        await request.read()
        self.requests.append((request.method, request.path, dict(request.headers)))
        for matches, reply in self._rules:
            if matches(request.method, request.path_qs):
                return web.json_response(reply.body, status=reply.status, headers=reply.headers)
        body = ACCOUNT if request.path == "/" else CONTAINER
        return web.json_response(body)
