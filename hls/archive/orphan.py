"""Complete an upload that another process began, without its disk and without its index. Blocking.

The parts that the storage has are made the object. It ends somewhere in a fragment; the segment ends with the last
complete one, and what is behind it is skipped by players (:func:`hls.archive.upload.without_file`). Each function may
be called again after it was interrupted.
"""

from dataclasses import replace

from hls.archive.segment import Segment, SegmentState, SegmentWithFragments
from hls.archive.segment_record import read_record, record_key, write_record
from hls.archive.upload import Upload, head_of, key_of, without_file
from hls.storage.client import ObjectStore, PartDone
from hls.storage.errors import ObjectStoreError, StoreFault

_GONE = (StoreFault.NO_UPLOAD, StoreFault.NO_OBJECT)


def complete(store: ObjectStore, found: SegmentWithFragments, upload: Upload) -> SegmentWithFragments | None:
    """Complete an upload; ``store`` is the folder of the process that began it.

    Returns the segment as the storage has it, ``None`` where it has no fragment. Raises ``ObjectStoreError``.
    """
    segment, key = found.segment, key_of(found.segment)
    if upload.upload_id is not None:
        try:
            parts = store.parts(key, upload.upload_id)
            # The index says which of them belong together: a part may be of a first try that ended differently.
            known = {part.number: part.size for part in upload.parts}
            present = tuple(part for part in parts if known.get(part.number, part.size) == part.size)
            told = replace(upload, parts=present)
            if without_file(segment, found.fragments, told) is None:
                store.abort(key, upload.upload_id)
                return None
            whole = [part for number, part in enumerate(present, 1) if part.number == number]
            store.complete(key, upload.upload_id, whole)
        except ObjectStoreError as error:
            if error.fault not in _GONE:
                raise
            # It was completed before, or the storage has forgotten it.
    size = store.size(key)
    if size is None:
        return None
    if (recorded := _recorded(store, segment)) is not None and recorded.segment.size == size:
        return recorded
    if segment.state is SegmentState.CLOSED and size == segment.size and upload.head == head_of(segment):
        return found
    cut = without_file(segment, found.fragments, replace(upload, parts=(PartDone(1, "", size),)))
    return SegmentWithFragments(*cut) if cut is not None else None


def take(source: ObjectStore, target: ObjectStore, found: SegmentWithFragments, name: str) -> SegmentWithFragments:
    """Copy a segment to another folder, with this name, and write its record. Returns it as it is there.

    Where both folders are the same, and the name is its own, the record alone is written. Raises ``ObjectStoreError``.
    """
    taken = SegmentWithFragments(replace(found.segment, name=name), found.fragments)
    if source.url != target.url or name != found.segment.name:
        target.copy(source, key_of(found.segment), key_of(taken.segment))
    target.put(record_key(taken.segment.camera_id, name), write_record(*taken, None), "application/json")
    return taken


def _recorded(store: ObjectStore, segment: Segment) -> SegmentWithFragments | None:
    try:
        return read_record(store.read(record_key(segment.camera_id, segment.name)))
    except ObjectStoreError as error:
        if error.fault in _GONE:
            return None
        raise
