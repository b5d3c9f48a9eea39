"""How the operator speaks to the API server: apply, patch, read, and what its errors mean.

A client of its own, over aiohttp, instead of the `kubernetes` package: Kopf brings aiohttp and the login
with it, the operator needs six verbs of seven resources, and importing `kubernetes.aio` costs 55 MB of the
250 MB that 5,000 runs may take.
"""
