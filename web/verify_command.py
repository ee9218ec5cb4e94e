"""``liveedge verify``: which keys and which index it uses. :mod:`hls.evidence.verify` verifies."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from gateway.errors import BadRequestError, SettingsError
from hls.archive.database import INDEX_FILE
from hls.archive.table import SegmentTable
from hls.evidence import chain_table
from hls.evidence.signing import PublicKey
from hls.evidence.verify import Report, TrustedKeys, verify_archive, verify_export, verify_file
from web.settings import Settings


def verify(archives: Sequence[Settings], file: Path | None, key: Path | None, evidence: Path | None) -> list[Report]:
    """Verify a file, or all recordings without one. Raises a ``LiveedgeError`` if it cannot be verified.

    ``archives`` are those of all workers: a file is a recording of any of them. The keys are that of ``key``, or those
    of the gateway whose recordings are in ``DATA_DIR``, if there are any.
    """
    if file is None:
        return [_verify(archive, None, key, evidence) for archive in archives]
    if not file.is_file():
        raise SettingsError(f"{file} is not a file")
    with file.open("rb") as opened:
        is_zip = opened.read(2) == b"PK"
    if is_zip:  # all workers have one key
        with _index(archives[0]) as index:
            return [verify_export(file, _trusted(key, index))]
    best: Report | None = None
    for archive in archives:
        report = _verify(archive, file, key, evidence)
        if not report.faults:
            return [report]
        if best is None or best.is_unknown:
            best = report
    return [best] if best is not None else []


def _verify(settings: Settings, file: Path | None, key: Path | None, evidence: Path | None) -> Report:
    """By the index of one archive."""
    with _index(settings) as index:
        trusted = _trusted(key, index)
        if file is None:
            if index is None:
                raise SettingsError(
                    f"DATA_DIR {settings.data_dir} has no recordings: set DATA_DIR, or name a file to verify"
                )
            return verify_archive(settings.data_dir, index)
        return verify_file(file, trusted, index, evidence)


@contextlib.contextmanager
def _index(settings: Settings) -> Iterator[SegmentTable | None]:
    """The index of the recordings in ``DATA_DIR``; ``None`` where there is none, which is not made then."""
    url = settings.database_url
    if url is None and not (settings.data_dir / INDEX_FILE).is_file():
        yield None
        return
    index = SegmentTable(settings.data_dir, url.get_secret_value() if url else None)
    index.open()
    try:
        yield index
    finally:
        index.close()


def _trusted(key: Path | None, index: SegmentTable | None) -> TrustedKeys | None:
    if key is not None:
        try:
            public = PublicKey.from_pem(key.read_text(errors="replace"))
        except OSError as error:
            raise SettingsError(f"{key} cannot be read: {error.strerror}") from None
        except BadRequestError as error:
            raise SettingsError(f"{key}: {error}") from None
        return TrustedKeys({public.key_id: public}, f"the key in {key.name}")
    keys = chain_table.keys(index) if index is not None else {}
    return TrustedKeys(keys, "a key of this gateway") if keys else None
