"""All planted bugs; importing this module fills ``BUGS``."""

from __future__ import annotations

from tests.simulation.planted import custody, loops, recording, steering

__all__ = ["custody", "loops", "recording", "steering"]
