"""What the nodes of a cluster share in PostgreSQL: nodes, cameras and their owners, and an index of recordings."""
