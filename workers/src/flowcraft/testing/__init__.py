"""For tests of workflows: traces, event logs, one step at a time, and sleeps that take no time."""

from flowcraft.testing.event_log import EventLog
from flowcraft.testing.stepper import Stepper
from flowcraft.testing.trace import run_with_trace
from flowcraft.testing.virtual_clock import VirtualClock

__all__ = ["EventLog", "Stepper", "VirtualClock", "run_with_trace"]
