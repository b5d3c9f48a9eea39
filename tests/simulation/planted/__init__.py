"""Bugs planted one at a time: each leaves out a rule of the execution model, and has to be found."""
