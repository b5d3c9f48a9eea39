"""The API of Flowcraft's two Kubernetes resources, and the form in which a run's header is stored.

Only pydantic and the standard library are imported here, so that the operator, the command line and the
workers can share it: the models are the single source of the custom resource definitions, and what a run's
state looks like to a user is computed here, by pure functions, for all of them. Nothing is re-exported:
import from the modules, so that a program that needs only the wire form does not load pydantic.
"""
