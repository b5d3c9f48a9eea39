"""Servers that run beside the cluster, as objects of the API."""

from __future__ import annotations

from typing import Any


def service_beside(
    address: str, name: str, namespace: str, ports: list[dict[str, object]], **spec: object
) -> list[dict[str, Any]]:
    """A Service whose one endpoint is an address outside: pods reach a server there by the Service's name.

    Args:
        address: Where the server listens.
        name: The Service's name.
        namespace: Where it lives.
        ports: Ports as a Service lists them (`name`, `port`, `protocol`), the same outside.
        spec: Further fields of the Service.
    """
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"ports": ports, **spec},
    }
    labels = {"kubernetes.io/service-name": name}
    endpoints = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "addressType": "IPv4",
        "metadata": {"name": f"{name}-beside", "namespace": namespace, "labels": labels},
        "endpoints": [{"addresses": [address]}],
        "ports": ports,
    }
    return [service, endpoints]
