"""The shop: the example of a Flowcraft app."""
