"""Flowcraft on Azure: Queue Storage for jobs, Cosmos DB for facts, Redis for coordination."""

from flowcraft_azure.adapter import AzureQueueAdapter
from flowcraft_azure.backend import AzureBackend, open_azure
from flowcraft_azure.context import CosmosDbContext
from flowcraft_azure.coordination import RedisCoordinationStore
from flowcraft_azure.count import RequestCounter
from flowcraft_azure.facts import CosmosFactStore
from flowcraft_azure.provision import provision
from flowcraft_azure.queue import AzureJobQueue
from flowcraft_azure.reconciler import create_azure_reconciler
from flowcraft_azure.settings import AzureSettings, AzureSettingsError, is_configured

__all__ = [
    "AzureBackend",
    "AzureJobQueue",
    "AzureQueueAdapter",
    "AzureSettings",
    "AzureSettingsError",
    "CosmosDbContext",
    "CosmosFactStore",
    "RedisCoordinationStore",
    "RequestCounter",
    "create_azure_reconciler",
    "is_configured",
    "open_azure",
    "provision",
]
