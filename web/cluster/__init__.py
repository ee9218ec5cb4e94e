"""A gateway as one node of a cluster: which cameras it captures, and the cameras that all nodes share."""
