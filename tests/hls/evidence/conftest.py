"""Fixtures of evidence: an open index, in each database."""

from tests.hls.archive.conftest import any_index, index

__all__ = ["any_index", "index"]
