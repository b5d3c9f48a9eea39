"""Event stores: in memory, and in a SQLite file; ``flowcraft_postgres`` has that in PostgreSQL."""

from flowcraft.history.memory import MemoryEventStore
from flowcraft.history.retention import Retention
from flowcraft.history.sqlite import SqliteEventStore

__all__ = ["MemoryEventStore", "Retention", "SqliteEventStore"]
