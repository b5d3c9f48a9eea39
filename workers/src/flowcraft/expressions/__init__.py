"""Expressions: what a condition or transform reads and may cost, found out before it is evaluated."""
