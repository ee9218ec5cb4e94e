"""The owners of cameras among the nodes of a cluster, without I/O.

model          nodes, owners, and the times by which they are judged
placement      which nodes a camera belongs to
actions        what a coordinator wants done
coordinator    the decisions of one node
store          the port to what all nodes share
"""
