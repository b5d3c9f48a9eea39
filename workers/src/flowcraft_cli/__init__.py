"""The `flowcraft` command: runs on this machine, the worker program, and every verb on runs.

`main` puts the commands together; `commands` has one short module for each. A command imports what it works
with when it is called, so that `flowcraft --help` loads none of it, and the embedded verbs load no SDK.
"""
