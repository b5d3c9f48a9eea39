"""The Kubernetes operator of Flowcraft: worker pools that follow their queues, and workflow runs."""
