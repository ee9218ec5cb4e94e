"""What the nodes of a cluster share in PostgreSQL: nodes, cameras and their owners, and the index of all recordings."""
