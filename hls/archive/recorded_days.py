"""Which spans of time have recordings of a stream: for calendars. Blocking; the index runs it in its thread.

It is one look-up in the time index for each span, however many files there are.
"""

from collections.abc import Sequence

from sqlalchemy import select

from hls.archive import schema
from hls.archive.database import Database
from hls.archive.segment import RecordedStream
from hls.archive.segment_queries import overlaps


def recorded_spans(database: Database, stream: RecordedStream, spans: Sequence[tuple[int, int]]) -> list[bool]:
    """For each span [start, end) in 90 kHz, whether a segment of the stream overlaps it."""
    found = []
    start_90k = schema.segment.c.start_90k
    with database.transaction() as connection:
        for span in spans:
            # The newest first: where a day has recordings, that is a hit with the first row.
            query = select(start_90k).where(*overlaps(stream, *span)).order_by(start_90k.desc()).limit(1)
            found.append(connection.scalar(query) is not None)
    return found
