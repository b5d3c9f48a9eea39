"""The coordination store on Redis: claims, joins, leases and hints, each method one round trip."""

from __future__ import annotations

import asyncio
import random as randomness
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Final

from redis.asyncio import Redis, RedisCluster
from redis.exceptions import MovedError, NoScriptError, ReadOnlyError, RedisError

from flowcraft.ports import Arrival, Claim, ClaimRequest, Coordination, Discharge, JoinArrival
from flowcraft.ports.errors import BackendUnavailableError
from flowcraft_azure import scripts
from flowcraft_azure.hints import Texts
from flowcraft_azure.scripts import Script

DONE_S: Final = 3600
"""How long a ``done`` mark is kept."""
KEPT_S: Final = 24 * 3600
"""How long joins and counters are kept after their last use."""


class RedisCoordinationStore(Coordination):
    """Claims, joins, leases and hints on one Redis, or one Redis cluster.

    Args:
        redis: A ``redis.asyncio`` client; it is the caller's to close.
        random: For jitter of reconnects.
    """

    def __init__(self, redis: Redis | RedisCluster, *, random: randomness.Random | None = None) -> None:
        self._redis: Any = redis  # the client's methods are typed for sync and async use at once
        self._random = random or randomness.Random()  # noqa: S311 - jitter, no secret

    async def claim(self, request: ClaimRequest) -> Claim:
        """See ``Coordination.claim``."""
        run = _run(request.run_id)
        keys = (f"{run}c:{request.key}", f"{run}s", f"{run}x")
        answer = await self._run(
            scripts.CLAIM, keys, request.token, _ms(request.lease_s), request.activity, KEPT_S * 1000
        )
        return Claim(_text(answer))

    async def renew(self, run_id: str, keys: Sequence[str], token: str, lease_s: float) -> bool:
        """See ``Coordination.renew``."""
        if not keys:
            return True
        return bool(await self._run(scripts.RENEW, _claims(run_id, keys), token, _ms(lease_s)))

    async def held(self, run_id: str, keys: Sequence[str]) -> frozenset[str]:
        """See ``Coordination.held``."""
        if not keys:
            return frozenset()
        with _Away():
            values = await self._redis.mget(_claims(run_id, keys))
        return frozenset(
            key for key, value in zip(keys, values, strict=True) if value is not None and _text(value) != "d"
        )

    async def arrive(self, arrival: JoinArrival) -> tuple[Arrival, bool]:
        """See ``Coordination.arrive``."""
        run = _run(arrival.run_id)
        states = [text for edge, taken in arrival.states.items() for text in (edge, "T" if taken else "D")]
        answer, created = await self._run(
            scripts.ARRIVE,
            (f"{run}j:{arrival.join}", f"{run}x"),
            arrival.edge,
            arrival.expected,
            int(arrival.first_taken_fires),
            KEPT_S * 1000,
            *states,
        )
        return Arrival(_text(answer)), bool(created)

    async def discharge(self, discharge: Discharge) -> int:
        """See ``Coordination.discharge``."""
        keys = (
            f"{_run(discharge.run_id)}s",
            *_claims(discharge.run_id, discharge.done),
            *_claims(discharge.run_id, discharge.released),
        )
        answer = await self._run(
            scripts.DISCHARGE,
            keys,
            discharge.token,
            len(discharge.done),
            DONE_S * 1000,
            discharge.activity,
            discharge.progress,
            KEPT_S * 1000,
            _channel(discharge.channel) if discharge.channel else "",
            discharge.hint,
        )
        return int(answer)

    async def progress(self, run_ids: Sequence[str]) -> Mapping[str, int]:
        """See ``Coordination.progress``."""
        if not run_ids:
            return {}
        with _Away():
            pipeline = self._redis.pipeline(transaction=False)
            for run_id in run_ids:
                pipeline.hget(f"{_run(run_id)}s", "progress")
            counts = await pipeline.execute()
        return {
            run_id: int(count)
            for run_id, count in zip(run_ids, counts, strict=True)
            if count is not None and _text(count).isdigit()
        }

    async def lease(self, name: str, holder: str, lease_s: float) -> bool:
        """See ``Coordination.lease``."""
        return bool(await self._run(scripts.LEASE, (f"fc:lease:{name}",), holder, _ms(lease_s)))

    async def release(self, name: str, holder: str) -> None:
        """See ``Coordination.release``."""
        await self._run(scripts.RELEASE, (f"fc:lease:{name}",), holder)

    async def heartbeat(self, queue: str, worker: str, in_flight: int, ttl_s: float) -> None:
        """See ``Coordination.heartbeat``; a lifetime of 0 takes the worker off at once."""
        ttl_ms = _ms(ttl_s) if ttl_s > 0 else 0
        await self._run(scripts.HEARTBEAT, (f"fc:workers:{queue}",), worker, in_flight, ttl_ms)

    async def heartbeats(self, queue: str) -> Mapping[str, int]:
        """See ``Coordination.heartbeats``."""
        flat = await self._run(scripts.HEARTBEATS, (f"fc:workers:{queue}",))
        return {
            _text(worker): int(in_flight) for worker, in_flight in zip(flat[::2], flat[1::2], strict=True)
        }

    async def notify(self, channel: str, text: str) -> None:
        """See ``Coordination.notify``."""
        with _Away():
            await self._redis.publish(_channel(channel), text)

    def listen(self, channel: str) -> AbstractAsyncContextManager[AsyncIterator[str]]:
        """See ``Coordination.listen``; what is published after the context was entered is heard."""
        return Texts(self._redis, _channel(channel), self._random)

    async def forget(self, run_id: str) -> None:
        """See ``Coordination.forget``."""
        run = _run(run_id)
        await self._run(scripts.FORGET, (f"{run}x", f"{run}s"))

    async def _run(self, script: Script, keys: Sequence[str], *arguments: str | int) -> Any:
        with _Away():
            try:
                return await self._redis.evalsha(script.sha, len(keys), *keys, *arguments)
            except ReadOnlyError:
                # It was demoted. The address may lead to another one by now, an open connection never will.
                pool = getattr(self._redis, "connection_pool", None)
                if pool is not None:  # a client of a cluster looks around by itself
                    await pool.disconnect(inuse_connections=False)
                raise
            except NoScriptError:  # a server that is new or was restarted: send the source once
                return await self._redis.eval(script.text, len(keys), *keys, *arguments)


class _Away:
    """Raises ``BackendUnavailableError`` for whatever Redis raises inside."""

    __slots__ = ()

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, MovedError):
            raise BackendUnavailableError(
                "Redis: it is a cluster: add ?cluster=true to its address"
            ) from error
        if isinstance(error, RedisError | OSError | asyncio.TimeoutError):
            raise BackendUnavailableError(f"Redis: {error or type(error).__name__}") from error


def _run(run_id: str) -> str:
    """Prefix of all keys of a run; the braces make the run id the hash tag."""
    tag = run_id.replace("%", "%25").replace("}", "%7D") if "}" in run_id or "%" in run_id else run_id
    return f"fc:{{{tag}}}:"


def _claims(run_id: str, keys: Sequence[str]) -> tuple[str, ...]:
    run = _run(run_id)
    return tuple(f"{run}c:{key}" for key in keys)


def _channel(name: str) -> str:
    return f"fc:ch:{name}"


def _ms(seconds: float) -> int:
    return max(1, round(seconds * 1000))


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
