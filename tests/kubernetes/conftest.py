"""Fixtures of the operator's tests: a real API server, the definitions, a namespace, the operator."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.emulators.stand_ins import StandIns
from tests.kubernetes.api_server import ApiServer, find_program
from tests.kubernetes.programs import Program, operator_program, until, worker_program

from flowcraft_azure.provision import provision
from flowcraft_azure.settings import AzureSettings

CRDS = Path(__file__).parents[2] / "crds"


@pytest.fixture(scope="session")
def api_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """An API server with the definitions, without controllers and nodes."""
    if find_program("kube-apiserver") is None:
        pytest.skip("no kube-apiserver: build the local cluster's programs once with `make cluster`")
    server = ApiServer(tmp_path_factory.mktemp("api-server"))
    try:
        server.start()
        server.kubectl("apply", "--server-side", "-f", str(CRDS))
        server.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
        yield server
    finally:
        server.stop()


@dataclass
class Scene:
    """A namespace, the stand-ins with a database of its own, and the processes of one test.

    Attributes:
        api: The API server.
        namespace: A namespace of its own, which is also the prefix of its queues.
        environment: The connection settings that workers and operator are given.
        folder: For logs.
    """

    api: ApiServer
    namespace: str
    environment: dict[str, str]
    folder: Path
    programs: list[Program] = field(default_factory=list)

    def operator(self, **settings: str) -> Program:
        """Start the operator for this namespace only."""
        given = {
            **self.environment,
            "FLOWCRAFT_WATCH_NAMESPACES": self.namespace,
            "FLOWCRAFT_STATUS_POLL_S": "1",
            **settings,
        }
        program = operator_program(self.api.kubeconfig, self.folder, given)
        self.programs.append(program)
        return program.start()

    def worker(self, queue: str) -> Program:
        """Start a worker of the shop on a queue."""
        program = worker_program(self.folder, {**self.environment, "FLOWCRAFT_QUEUE": queue})
        self.programs.append(program)
        return program.start()

    def apply(self, kind: str, name: str, **spec: Any) -> dict[str, Any]:
        """Apply a manifest, and give what the API server made of it."""
        manifest = {
            "apiVersion": "flowcraft.io/v1alpha1",
            "kind": kind,
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": spec,
        }
        answer = self.kubectl("apply", "-o", "json", "-f", "-", stdin=json.dumps(manifest))
        return dict(json.loads(answer))

    def pool(self, name: str = "orders", **spec: Any) -> dict[str, Any]:
        """Apply a pool of the shop that polls often."""
        scaling = {"pollInterval": "200ms", "cooldown": "1s", **spec.pop("scaling", {})}
        given = {"image": "example/shop:1.4.0", "app": "shop.flows:app", "scaling": scaling}
        return self.apply("FlowcraftWorkerPool", name, **(given | spec))

    def run(self, name: str, **spec: Any) -> dict[str, Any]:
        """Apply a run of an order."""
        given = {"poolRef": {"name": "orders"}, "blueprint": {"name": "order"}, "input": {"amount": 42}}
        return self.apply("WorkflowRun", name, **(given | spec))

    def kubectl(self, *arguments: str, stdin: str = "") -> str:
        """kubectl in this namespace."""
        return self.api.kubectl("--namespace", self.namespace, *arguments, stdin=stdin).stdout

    def get(self, kind: str, name: str) -> dict[str, Any]:
        """An object, or an empty one if it does not exist."""
        answer = self.api.kubectl("--namespace", self.namespace, "get", kind, name, "-o", "json", check=False)
        return dict(json.loads(answer.stdout)) if answer.returncode == 0 else {}

    def replicas(self, pool: str = "orders") -> int:
        """The number of workers that the pool's Deployment asks for; -1 without a Deployment."""
        return int(self.get("deployment", f"{pool}-workers").get("spec", {}).get("replicas", -1))

    def events(self, name: str) -> list[str]:
        """The reasons of the events about an object."""
        about = f"--field-selector=involvedObject.name={name}"
        answer = self.kubectl("get", "events", "-o", "json", about)
        return [str(each["reason"]) for each in json.loads(answer)["items"]]

    async def phase(self, name: str, *phases: str, timeout_s: float = 60.0) -> dict[str, Any]:
        """Wait until a run is in one of the phases, and give it."""

        def look() -> dict[str, Any] | None:
            found = self.get("workflowrun", name)
            return found if found.get("status", {}).get("phase") in phases else None

        try:
            return (await until(f"{name} in {phases}", look, timeout_s)) or {}
        except AssertionError as error:
            logs = "\n".join(program.text()[-3000:] for program in self.programs)
            raise AssertionError(f"{error}\n{self.get('workflowrun', name)}\n{logs}") from None

    async def accepted(self, name: str) -> dict[str, Any]:
        """Wait until a run was taken into the backend, whether a worker has taken it on or not; give it."""
        await self.condition("workflowrun", name, "Accepted", "Accepted")
        return self.get("workflowrun", name)

    async def condition(
        self, kind: str, name: str, condition: str, reason: str, timeout_s: float = 60.0
    ) -> dict[str, Any]:
        """Wait until a condition has this reason, and give the condition."""

        def look() -> dict[str, Any] | None:
            found = conditions(self.get(kind, name)).get(condition, {})
            return found if found.get("reason") == reason else None

        try:
            return (await until(f"{condition} of {name} is {reason}", look, timeout_s)) or {}
        except AssertionError as error:
            logs = "\n".join(program.text()[-3000:] for program in self.programs)
            raise AssertionError(f"{error}\n{self.get(kind, name)}\n{logs}") from None

    async def reason(self, kind: str, name: str, condition: str, reason: str) -> None:
        """Wait until a condition has this reason; the object itself may be too deep for this process."""
        path = f'{{.status.conditions[?(@.type=="{condition}")].reason}}'
        look = ("get", kind, name, "-o", f"jsonpath={path}")
        try:
            await until(f"{condition} of {name} is {reason}", lambda: self.kubectl(*look) == reason)
        except AssertionError as error:
            logs = "\n".join(program.text()[-3000:] for program in self.programs)
            raise AssertionError(f"{error}\n{logs}") from None


def conditions(resource: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The conditions of a resource by type."""
    return {each["type"]: each for each in resource.get("status", {}).get("conditions", [])}


@pytest.fixture
async def scene(
    api_server: ApiServer, stand_ins: StandIns, unique_name: str, tmp_path: Path
) -> AsyncIterator[Scene]:
    """A namespace with provisioned services; what was started in it is ended with the test."""
    environment = {
        "FLOWCRAFT_QUEUE_CONNECTION_STRING": stand_ins.azure_storage_connection_string,
        "FLOWCRAFT_COSMOS_CONNECTION_STRING": stand_ins.cosmos_connection_string,
        "FLOWCRAFT_REDIS_URL": stand_ins.redis_connection_string,
        "FLOWCRAFT_COSMOS_DATABASE": unique_name,
    }
    api_server.kubectl("create", "namespace", unique_name)
    await provision(AzureSettings.from_environment(environment, queue=f"{unique_name}-orders"))
    made = Scene(api_server, unique_name, environment, tmp_path)
    try:
        yield made
    finally:
        for program in made.programs:
            await asyncio.to_thread(program.kill)
