"""A real Kubernetes on one machine, without Docker, from the Go module proxy and the distribution's packages.

A node is a set of Linux namespaces held by one process; containerd, the kubelet and kube-proxy run in
them, on node 1 the control plane too. Ending the holder is a power cut: the kernel ends and unmounts
everything inside. Only the standard library is used, so that the cluster needs no environment of its own.
"""
