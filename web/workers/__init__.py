"""Several processes on one machine that serve as one gateway: ``WORKERS``."""
