"""Distributed execution over ports: jobs, workers, the client and reconciliation."""
