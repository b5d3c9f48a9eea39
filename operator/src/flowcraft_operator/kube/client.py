"""The verbs that the operator needs of the API server, over the official asynchronous client.

Objects stay plain dictionaries: the models of `kubernetes.aio` cost more to make than the request does, and
know nothing of our resources. So its `ApiClient` is used below its generated classes.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, Final

import aiohttp
import kopf
import orjson
from kubernetes.aio.client import ApiClient, Configuration
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_after_attempt

from flowcraft_operator.kube.errors import (
    KubeError,
    NotFoundError,
    UnauthorizedError,
    UnavailableError,
    error_of,
)
from flowcraft_operator.kube.resources import Resource, resource_of

FIELD_MANAGER: Final = "flowcraft-operator"
"""Owner of the fields that the operator sets by server-side apply."""
REQUEST_TIMEOUT: Final = aiohttp.ClientTimeout(total=20.0)
RETRY_DELAYS_S: Final = (0.2, 1.0, 3.0)
"""Pauses between tries of one request; longer outages are the caller's to wait out."""
CONNECTIONS: Final = 32
PAGE: Final = 500
DEEPEST: Final = 10_000
"""Levels of nesting that the API server takes (the limit of Go's `encoding/json`)."""

Login = Callable[[], kopf.ConnectionInfo | None]

_JSON_PATCH = "application/json-patch+json"
_MERGE_PATCH = "application/merge-patch+json"
_APPLY_PATCH = "application/apply-patch+yaml"


class KubeClient:
    """Speaks to one API server; every method raises the errors of `kube.errors`."""

    def __init__(self, login: Login) -> None:
        self._login = login
        self._api: ApiClient | None = None
        self._connector: aiohttp.TCPConnector | None = None
        self._opening = asyncio.Lock()
        self.writes = 0
        """Requests so far that may have changed an object."""

    async def get(self, resource: Resource, namespace: str, name: str) -> dict[str, Any]:
        """Read one object."""
        return await self._request("GET", resource.path(namespace, name))

    async def scan(
        self, resource: Resource, namespace: str | None = None, *, label_selector: str = ""
    ) -> AsyncIterator[dict[str, Any]]:
        """Read all objects, in pages; those of one namespace or of all."""
        query = {"limit": str(PAGE)}
        if label_selector:
            query["labelSelector"] = label_selector
        while True:
            page = await self._request("GET", resource.path(namespace), query=query)
            for item in page.get("items") or ():
                yield item
            token = (page.get("metadata") or {}).get("continue")
            if not token:
                return
            query["continue"] = token

    async def apply(self, manifest: dict[str, Any]) -> dict[str, Any]:
        """Make an object that the operator owns what the manifest says (server-side apply, forced)."""
        metadata = manifest["metadata"]
        path = resource_of(manifest).path(metadata["namespace"], metadata["name"])
        query = {"fieldManager": FIELD_MANAGER, "force": "true"}
        return await self._request("PATCH", path, manifest, query=query, content_type=_APPLY_PATCH)

    async def create(self, resource: Resource, namespace: str, manifest: Mapping[str, Any]) -> dict[str, Any]:
        """Create an object; ``ConflictError`` if there is one of this name."""
        return await self._request("POST", resource.path(namespace), manifest)

    async def delete(self, resource: Resource, namespace: str, name: str) -> None:
        """Delete an object."""
        await self._request("DELETE", resource.path(namespace, name))

    async def patch_status(
        self, resource: Resource, namespace: str, name: str, *, uid: str, status: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Replace the whole status of the object of this uid.

        A JSON patch, because a merge patch cannot write a null: an output may hold one. ``RejectedError`` if
        the object of this name is another one meanwhile.
        """
        operations = [
            {"op": "test", "path": "/metadata/uid", "value": uid},
            {"op": "add", "path": "/status", "value": status},
        ]
        return await self._patch(resource, namespace, name, operations, subresource="status")

    async def set_finalizers(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        finalizers: Sequence[str],
        *,
        resource_version: str,
    ) -> dict[str, Any]:
        """Replace the finalizers; ``ConflictError`` if the object changed since that version."""
        body = {"metadata": {"finalizers": list(finalizers), "resourceVersion": resource_version}}
        path = resource.path(namespace, name)
        return await self._request("PATCH", path, body, content_type=_MERGE_PATCH)

    async def patch_merge(
        self, resource: Resource, namespace: str, name: str, body: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Change some fields of an object."""
        return await self._request("PATCH", resource.path(namespace, name), body, content_type=_MERGE_PATCH)

    async def unserved(self, *resources: Resource) -> list[str]:
        """Which of these resources of one group the API server does not know."""
        path = f"/apis/{resources[0].group}/{resources[0].version}"
        try:
            served = await self._request("GET", path)
        except NotFoundError:
            served = {}
        names = {each["name"] for each in served.get("resources") or ()}
        return [each.kind for each in resources if each.plural not in names]

    async def close(self) -> None:
        """Close the connections; the next request opens them again."""
        api, self._api = self._api, None
        connector, self._connector = self._connector, None
        if api is not None:
            await api.close()
        if connector is not None:
            await connector.close()

    async def _patch(
        self, resource: Resource, namespace: str, name: str, operations: Any, *, subresource: str
    ) -> dict[str, Any]:
        path = resource.path(namespace, name, subresource)
        return await self._request("PATCH", path, operations, content_type=_JSON_PATCH)

    async def _request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        query: Mapping[str, str] | None = None,
        content_type: str = "application/json",
    ) -> dict[str, Any]:
        """One request, tried again where that is harmless; every verb used here may be repeated."""
        if method != "GET":
            self.writes += 1
        async for attempt in AsyncRetrying(
            wait=_pause_s,
            stop=stop_after_attempt(len(RETRY_DELAYS_S) + 1),
            retry=retry_if_exception_type(UnavailableError),
            reraise=True,
        ):
            with attempt:
                try:
                    return await self._send(method, path, body, query, content_type)
                except UnauthorizedError:  # the token was rotated: log in again, once
                    await self.close()
                    return await self._send(method, path, body, query, content_type)
        raise AssertionError("unreachable: the last failure is raised")

    async def _send(
        self, method: str, path: str, body: Any, query: Mapping[str, str] | None, content_type: str
    ) -> dict[str, Any]:
        api = await self._opened()
        request = await api.param_serialize(
            method=method,
            resource_path=path,
            query_params=list((query or {}).items()),
            header_params={"Accept": "application/json", "Content-Type": content_type},
            body=body,
        )
        try:
            answer = await api.call_api(*request, _request_timeout=REQUEST_TIMEOUT)
            content = await answer.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise UnavailableError(
                f"the API server cannot be reached: {error or type(error).__name__}"
            ) from error
        decoded = _decoded(content)
        if answer.status >= 400:
            raise error_of(answer.status, decoded, retry_after=answer.getheader("Retry-After"))
        return decoded if isinstance(decoded, dict) else {}

    async def _opened(self) -> ApiClient:
        async with self._opening:
            if self._api is None:
                connection = self._login()
                if connection is None:
                    raise KubeError("no Kubernetes to log in to: run in a pod, or set KUBECONFIG")
                self._connector = aiohttp.TCPConnector(limit=CONNECTIONS, ssl=connection.as_ssl_context())
                self._api = _api(connection, self._connector)
            return self._api


def login() -> kopf.ConnectionInfo | None:
    """The pod's own service account, or the kubeconfig of whoever runs the operator by hand."""
    settings = kopf.OperatorSettings()
    return kopf.login_with_service_account(settings=settings) or kopf.login_with_kubeconfig(settings=settings)


def _api(connection: kopf.ConnectionInfo, connector: aiohttp.TCPConnector) -> ApiClient:
    """The official client, logged in as Kopf is."""
    configuration = Configuration(host=connection.server)
    configuration.client_session_kwargs = {"connector": connector}
    api = ApiClient(configuration)
    api.user_agent = FIELD_MANAGER
    for name, value in connection.as_http_headers().items():
        api.set_default_header(name, value)
    return api


def _pause_s(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    asked_s = error.retry_after_s if isinstance(error, UnavailableError) else 0.0
    return max(asked_s, RETRY_DELAYS_S[state.attempt_number - 1])


def read_deep_objects() -> None:
    """Let this process read whatever the API server holds.

    With Python's own limit of about 1,000 levels one deeply nested resource, of anybody, would end the
    watch of all of them.
    """
    sys.setrecursionlimit(max(sys.getrecursionlimit(), 3 * DEEPEST))


def _decoded(content: bytes) -> Any:
    try:
        return orjson.loads(content) if content else None
    except orjson.JSONDecodeError:
        pass  # no JSON, or deeper than the 1,024 levels that orjson reads
    try:
        return json.loads(content)
    except ValueError:
        return {"message": content[:200].decode(errors="replace").strip()}
