"""Recordings with their signed chain, made without an event loop."""

import threading
from dataclasses import replace
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.clock import CLOCK_RATE
from hls.archive.metadata import sha256_of
from hls.archive.segment import Segment
from hls.archive.table import SegmentTable
from hls.evidence import chain_table
from hls.evidence.signing import SigningKey
from tests.support.recording import record
from tests.support.sources.encoded import START_90K, EncoderSettings, encode

NOW_90K = START_90K + 3600 * CLOCK_RATE


def new_key() -> SigningKey:
    return SigningKey(Ed25519PrivateKey.generate())


def hash_all(data_dir: Path, index: SegmentTable) -> None:
    """As the post-processor does it."""
    while segments := index.without_hash(64):
        for segment in segments:
            index.set_metadata(replace(segment, sha256=sha256_of(segment.path(data_dir), threading.Event())))


def signed_recordings(data_dir: Path, index: SegmentTable, key: SigningKey, camera_id: str = "door") -> list[Segment]:
    """Four files of 2 s, hashed and signed."""
    recordings = record(data_dir, encode(EncoderSettings(seconds=8)), camera_id, segment_s=2)
    for segment, fragments in recordings:
        index.save(segment, fragments)
    hash_all(data_dir, index)
    chain_table.add_key(index, key.public, NOW_90K)
    while chain_table.sign_batch(index, key, NOW_90K):
        pass
    return [segment for segment, _ in recordings]
