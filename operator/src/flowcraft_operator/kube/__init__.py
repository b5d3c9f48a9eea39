"""How the operator speaks to the API server: apply, patch, read, and what its errors mean."""
