"""Runs without queue and store: the engine's decisions, carried out in one process and kept in memory."""
