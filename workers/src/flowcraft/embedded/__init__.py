"""The embedded backend: all three ports on one SQLite file, for one machine and for tests."""

from flowcraft.embedded.backend import EmbeddedBackend, open_embedded

__all__ = ["EmbeddedBackend", "open_embedded"]
