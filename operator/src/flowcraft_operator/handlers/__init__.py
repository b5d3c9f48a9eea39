"""The live part: what Kopf delivers is observed, planned by `planning`, and carried out through `kube`."""
