"""Pure builders of the objects that a pool owns: Deployment, ServiceAccount, Secret."""
