"""The files of an export beside its clips: manifest, signature, public key. Their format is in docs/evidence.md."""

import base64
import hashlib
import json
from typing import Any

from pydantic import BaseModel, ValidationError

from gateway.printable import printable
from hls.evidence.signing import SigningKey

MANIFEST, SIGNATURE, PUBLIC_KEY, README = "manifest.json", "manifest.sig", "public-key.pem", "README.txt"

UNLISTED = frozenset({MANIFEST, SIGNATURE, PUBLIC_KEY, README})
"""Files of an export that its manifest need not name."""

TYPE = "liveedge-export"
VERSION = 1

MANIFEST_MAX_BYTES = 256 << 20

NAME_MAX = 200
"""Characters of a camera's name that are shown. A gateway gives it fewer; a manifest may be anybody's."""

HOW_TO_VERIFY = """\
To verify it:

  liveedge verify THIS_FILE.zip --key GATEWAY_PUBLIC_KEY.pem

or, with OpenSSL 3 and unzip, in an empty folder:

  unzip THIS_FILE.zip
  openssl pkeyutl -verify -pubin -inkey public-key.pem -rawin -in manifest.json -sigfile manifest.sig
  sha256sum FILE.mp4        # compare with "sha256" of that file in manifest.json

The first command proves that the manifest was not changed since it was signed with that key, and the second that a clip
is the one that the manifest names. Compare public-key.pem with the public key that the operator of the gateway gives
you by another way: a forged archive has a key of its own.
"""


def read_me(manifest: dict[str, Any]) -> bytes:
    """The README of an export: what is in it, and how to verify that. ``manifest`` is that of this gateway."""
    lines = [
        f"This archive was exported by liveedge. It has recordings from {manifest['start']} to {manifest['end']} (UTC)."
    ]
    for camera in manifest["cameras"]:
        stream = "" if camera["rendition"] == "main" else f" ({camera['rendition']} stream)"
        lines += ["", camera["camera"] + stream]
        if camera["name"]:  # on a line of its own, as it may be written from right to left
            lines.append(f"  name: {printable(shortened(camera['name']))}")
        lines += [f"  {clip['file']}, {clip['start']} to {clip['end']}" for clip in camera["clips"]]
    for what, why in (("not_recorded", "nothing is recorded of"), ("away", "not in it is what was recorded by")):
        if manifest[what]:
            lines += ["", f"{why.capitalize()}: {', '.join(manifest[what])}"]
    return ("\n".join(lines) + "\n\n" + HOW_TO_VERIFY).encode()


def shortened(name: str) -> str:
    """The name of a camera, of :data:`NAME_MAX` characters at most."""
    return name if len(name) <= NAME_MAX else name[:NAME_MAX] + "…"


def sealed(manifest: dict[str, Any], key: SigningKey) -> list[tuple[str, bytes]]:
    """The names and contents of the files beside the clips. ``manifest`` gets what it says of these files."""
    about = read_me(manifest)
    files = [{"file": README, "sha256": hashlib.sha256(about).hexdigest()}]
    data = as_bytes({**manifest, "key": key.key_id, "files": files})
    signature = base64.b64decode(key.sign(data))
    return [(MANIFEST, data), (SIGNATURE, signature), (PUBLIC_KEY, key.public.pem.encode()), (README, about)]


def as_bytes(manifest: dict[str, Any]) -> bytes:
    """A manifest as it is signed and kept."""
    return (json.dumps(manifest, indent=1, ensure_ascii=False) + "\n").encode()


class _File(BaseModel, strict=True):
    file: str
    sha256: str
    size: int | None = None
    pictures_left_out: int = 0


class _Source(BaseModel, strict=True):
    segment: str
    state: str


class _Camera(BaseModel, strict=True):
    camera: str
    name: str | None = None
    clips: list[_File]
    sources: list[_Source] = []
    records: list[dict[str, Any]] = []


class _Key(BaseModel, strict=True):
    public_key: str


class _Manifest(BaseModel, strict=True):
    """The form of what is read of a manifest."""

    cameras: list[_Camera]
    public_keys: list[_Key]
    files: list[_File] = []
    away: list[str] = []


def read_manifest(data: bytes) -> dict[str, Any]:
    """The manifest in a file. Raises ``ValueError`` for anything else, and for one of a newer version."""
    try:
        manifest = json.loads(data)
    except (ValueError, RecursionError):
        raise ValueError("its manifest is not JSON") from None
    if not isinstance(manifest, dict) or manifest.get("type") != TYPE:
        raise ValueError("it is not an export of liveedge")
    if manifest.get("version") != VERSION:
        raise ValueError("its manifest has a version that this liveedge does not know: use a newer one")
    try:
        _Manifest.model_validate(manifest)
    except ValidationError as error:
        place = ".".join(map(str, error.errors()[0]["loc"]))
        raise ValueError(f"its manifest is not as an export has it, at {place}") from None
    return manifest
