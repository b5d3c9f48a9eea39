"""Flowcraft's event store on PostgreSQL; install ``flowcraft-runtime[postgres]``."""

from flowcraft_postgres.event_store import PostgresEventStore

__all__ = ["PostgresEventStore"]
