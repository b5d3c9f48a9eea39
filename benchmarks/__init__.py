"""What the product costs: nodes a second, requests, CPU and memory, beside the same without an engine.

``python -m benchmarks`` (or ``make bench``) measures and prints a table. Each contestant is a process of its
own that runs laps on command, in turn with the one it is compared to, so that both meet the same noise.
"""
