"""Parts of an export that other nodes have recorded: each node exports its own, and one ZIP has them all.

Rules:

1. The part of a node is an export as any other, with a manifest that the node has signed. What is taken from it is
   compared with that manifest, and goes into the manifest of the whole, with the node's public keys.
2. A node that is away, or is lost before its part is here, is named in the manifest and in the message of the export:
   nobody is to believe that nothing was recorded there. Asked for again when it is back, the export has it.
"""

import zipfile
import zlib
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from gateway.errors import StorageError
from gateway.times import parse_time
from hls.evidence.export_job import ExportRequest
from hls.evidence.export_zip import ExportZip, pieces_of
from hls.evidence.manifest import MANIFEST, read_manifest


@dataclass(slots=True)
class Holders:
    """The names of the other nodes that may have recorded something of a request. ``away`` cannot be asked."""

    present: list[str] = field(default_factory=list)
    away: list[str] = field(default_factory=list)


class ExportParts(Protocol):
    """The other nodes of a cluster."""

    async def holders(self, request: ExportRequest) -> Holders:
        """Who may have recorded something of it. Raises :class:`~gateway.errors.StorageError` where that is unknown."""
        ...

    async def fetch(self, node: str, request: ExportRequest, path: Path, is_cancelled: Callable[[], bool]) -> bool:
        """Have a node export its part, and write its ZIP to ``path``. False: it has recorded nothing of it.

        Raises ``NodeAwayError`` where it is lost, another ``LiveedgeError``, ``OSError``, and
        :class:`~hls.evidence.export_zip.CancelledExportError`.
        """
        ...


def incomplete(away: Collection[str]) -> dict[str, Any]:
    """What an export says that lacks what these nodes have recorded (rule 2), for the result of its job."""
    nodes = ", ".join(away)
    lack = StorageError(f"what {nodes} recorded is not in it, as that node is away: see its manifest")
    lack.because("export_incomplete", nodes=nodes)
    return {"message": str(lack), "reason": lack.reason, "values": dict(lack.values)}


def add_part(
    archive: ExportZip, path: Path, node: str, taken: Collection[str]
) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
    """Take the clips of a part. Returns the cameras and the public keys of its manifest. Blocking.

    ``taken`` are the names of files that the export has already: a clip of such a name gets that of its node.

    Raises :class:`~gateway.errors.StorageError` for a part that is not as its node signed it, and ``OSError``.
    """
    try:
        with zipfile.ZipFile(path) as part:
            manifest = read_manifest(part.read(MANIFEST))
            for clip in (clip for camera in manifest["cameras"] for clip in camera["clips"]):
                name = clip["file"]
                if name in taken:
                    clip["file"] = name.removesuffix(".mp4") + f"_{node}.mp4"
                with part.open(name) as file:
                    written = archive.add(
                        clip["file"], pieces_of(file), parse_time(clip["start"], "start"), lambda _: None
                    )
                if written.sha256 != clip["sha256"]:
                    raise StorageError(f"the part of {node} is not as that node signed it")
    except (zipfile.BadZipFile, zlib.error, KeyError, ValueError) as error:
        raise StorageError(f"the part of {node} cannot be read: {error}") from None
    return manifest["cameras"], manifest["public_keys"]
