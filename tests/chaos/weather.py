"""Bad weather between workers and services: an HTTP proxy that delays, refuses, drops and loses replies."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import dataclass
from typing import Any, Final, Self

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

HOP_BY_HOP: Final = ("connection", "keep-alive", "transfer-encoding", "content-length")
FAULTS: Final = ("latency", "503", "429", "reset before", "reply dropped")


@dataclass
class Weather:
    """How likely each fault is for one request; ``storms`` may raise one of them for a while."""

    latency: float = 0.03
    unavailable: float = 0.005
    throttled: float = 0.005
    reset: float = 0.005
    dropped: float = 0.01

    def drawn(self, rng: random.Random) -> str | None:
        """The fault of one request."""
        draw = rng.random()
        for fault, chance in zip(
            FAULTS,
            (self.latency, self.unavailable, self.throttled, self.reset, self.dropped),
            strict=True,
        ):
            if draw < chance:
                return fault
            draw -= chance
        return None


CLEAR: Final = Weather(0, 0, 0, 0, 0)


class Proxy:
    """An HTTP proxy before one service, on a port of this machine."""

    def __init__(self, name: str, target_port: int, rng: random.Random, counts: Counter[str]) -> None:
        self.name = name
        self.weather = CLEAR
        self.port = 0
        self._target = URL.build(scheme="http", host="127.0.0.1", port=target_port)
        self._rng = rng
        self._counts = counts
        self._session: aiohttp.ClientSession | None = None
        application = web.Application(client_max_size=64 * 1024 * 1024)
        application.router.add_route("*", "/{path:.*}", self._pass)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            auto_decompress=False,
            connector=aiohttp.TCPConnector(limit=0),
            timeout=aiohttp.ClientTimeout(total=60),
            skip_auto_headers=("user-agent", "accept", "accept-encoding", "content-type"),
        )
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._runner.cleanup()
        if self._session is not None:
            await self._session.close()

    async def _pass(self, request: web.Request) -> web.Response:
        body = await request.read()
        fault = self.weather.drawn(self._rng)
        if fault is not None:
            self._counts[f"{fault} ({self.name})"] += 1
        if fault == "latency":
            await asyncio.sleep(self._rng.uniform(0.02, 1.0))
        elif fault in ("503", "429"):
            return self._refused(int(fault))
        elif fault == "reset before":
            return self._gone(request)
        try:
            reply = await self._forward(request, body)
        except aiohttp.ClientError:
            return self._gone(request)
        return self._gone(request) if fault == "reply dropped" else reply

    async def _forward(self, request: web.Request, body: bytes) -> web.Response:
        assert self._session is not None
        headers: CIMultiDict[str] = CIMultiDict(
            (name, value) for name, value in request.headers.items() if name.lower() not in HOP_BY_HOP
        )
        url = URL(f"{self._target}".rstrip("/") + request.raw_path, encoded=True)
        async with self._session.request(
            request.method, url, headers=headers, data=body or None, allow_redirects=False
        ) as answer:
            kept: CIMultiDict[str] = CIMultiDict(
                (name, value) for name, value in answer.headers.items() if name.lower() not in HOP_BY_HOP
            )
            content = await answer.read()
            if request.method == "HEAD":
                kept["content-length"] = answer.headers.get("content-length", "0")
            return web.Response(status=answer.status, headers=kept, body=content)

    def _refused(self, status: int) -> web.Response:
        """As the services say it."""
        headers = {"x-ms-retry-after-ms": "100"} if status == 429 else {}
        if self.name == "cosmos":
            return web.json_response({"code": str(status), "message": "busy"}, status=status, headers=headers)
        text = "<?xml version='1.0' encoding='utf-8'?><Error><Code>ServerBusy</Code>"
        text += "<Message>The server is busy.</Message></Error>"
        headers["x-ms-error-code"] = "ServerBusy"
        return web.Response(status=status, text=text, content_type="application/xml", headers=headers)

    @staticmethod
    def _gone(request: web.Request) -> web.Response:
        """No answer: the connection ends."""
        transport: Any = request.transport
        if transport is not None:
            transport.abort()
        return web.Response(status=500)
