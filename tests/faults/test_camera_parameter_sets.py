"""Misbehaving cameras: parameter sets lost or at odd times. RTP goes in, LL-HLS and recordings come out.

The measure is that of :mod:`tests.support.camera_media`.
"""

from base64 import b64encode
from pathlib import Path
from random import Random

import pytest

from tests.support.camera_media import FPS, TICK, coded, is_good, is_slice
from tests.support.camera_outputs import Received, outputs, receive
from tests.support.rtsp_camera import RtpSender, Sent, sdp, video_section

NAMES = {"H264": ("sps", "pps"), "H265": ("vps", "sps", "pps")}

KINDS = [(encoding, kind) for encoding, kinds in NAMES.items() for kind in kinds]


def kind_of(unit: bytes, encoding: str) -> str:
    number = unit[0] >> 1 & 0x3F if encoding == "H265" else unit[0] & 0x1F
    return {32: "vps", 33: "sps", 34: "pps", 7: "sps", 8: "pps"}.get(number, "")


def sprop(encoding: str, *kinds: str) -> str:
    """These parameter sets as attributes of the session description."""
    units = {kind_of(unit, encoding): b64encode(unit).decode() for unit in coded(hevc=encoding == "H265")[0]}
    if encoding == "H264":
        return f";sprop-parameter-sets={','.join(units[kind] for kind in kinds)}"
    return "".join(f";sprop-{kind}={units[kind]}" for kind in kinds)


def sent(encoding: str, *, missing: dict[int, tuple[str, ...]] | None = None, early: bool = False) -> list[Sent]:
    """A camera whose keyframes lack the parameter sets of the kinds in ``missing``, by the number of the GOP.

    ``early``: they come with the picture before the keyframe.
    """
    sender = RtpSender(hevc=encoding == "H265")
    pictures = coded(hevc=encoding == "H265")
    media: list[Sent] = []
    for number, units in enumerate(pictures):
        left_out = (missing or {}).get(number // 25, ())
        kept = [unit for unit in units if kind_of(unit, encoding) not in left_out]
        if early:
            following = pictures[number + 1] if number % 25 == 24 and number < 99 else ()
            kept = [unit for unit in units if is_slice(unit, hevc=encoding == "H265")]
            kept = [unit for unit in following if kind_of(unit, encoding)] + kept
        media += sender.picture(kept, number * TICK, number / FPS)
    return media


def received(encoding: str, media: list[Sent], described: str = "") -> list[Received]:
    section = video_section(encoding).replace("packetization-mode=1", f"packetization-mode=1{described}")
    return receive(sdp(section), media)[0]


@pytest.mark.parametrize(("encoding", "kind"), KINDS)
def test_one_kind_is_missing_in_the_first_keyframe(tmp_path: Path, encoding: str, kind: str) -> None:
    is_good(outputs(received(encoding, sent(encoding, missing={0: (kind,)})), tmp_path), 75)


@pytest.mark.parametrize(("encoding", "kind"), KINDS)
def test_one_kind_is_missing_in_a_later_keyframe(tmp_path: Path, encoding: str, kind: str) -> None:
    found = received(encoding, sent(encoding, missing={1: (kind,), 3: NAMES[encoding]}))
    is_good(outputs(found, tmp_path), 100)
    assert not any(each.packet.info.video.has_changing_sets for each in found)


@pytest.mark.parametrize(("encoding", "kind"), KINDS)
def test_one_kind_is_in_the_session_description_alone(tmp_path: Path, encoding: str, kind: str) -> None:
    media = sent(encoding, missing=dict.fromkeys(range(4), (kind,)))
    is_good(outputs(received(encoding, media, sprop(encoding, kind)), tmp_path), 100)


@pytest.mark.parametrize("encoding", NAMES)
def test_they_come_with_the_picture_before_the_keyframe(tmp_path: Path, encoding: str) -> None:
    is_good(outputs(received(encoding, sent(encoding, early=True)), tmp_path), 75)


@pytest.mark.parametrize("encoding", NAMES)
def test_no_file_is_without_one_whatever_is_lost(tmp_path: Path, encoding: str) -> None:
    """Each packet of a keyframe may be the one that is lost."""
    media = sent(encoding)
    for seed in range(8):
        random = Random(seed)
        found = received(encoding, [each for each in media if random.random() >= 0.06])
        if found:
            decoded = outputs(found, tmp_path / str(seed))
            assert [each.errors for each in (*decoded.live, *decoded.files)] == [[]] * (len(decoded.live) + 1)


@pytest.mark.parametrize("encoding", NAMES)
@pytest.mark.parametrize("is_marked_before", [True, False])
@pytest.mark.parametrize("is_changing", [True, False])
def test_they_come_after_the_slices_of_the_keyframe(
    tmp_path: Path, encoding: str, is_marked_before: bool, is_changing: bool
) -> None:
    """With ``is_changing``, those of the keyframe before are others."""
    is_hevc = encoding == "H265"
    pictures = [coded(options=f":qp={qp}" if is_changing else "", hevc=is_hevc) for qp in (20, 36)]
    sender, media = RtpSender(hevc=is_hevc), list[Sent]()
    for number in range(100):
        units = pictures[number // 25 % 2][number]
        slices = [unit for unit in units if is_slice(unit, hevc=is_hevc)]
        sets = [unit for unit in units if not is_slice(unit, hevc=is_hevc)]
        if is_marked_before:
            media += sender.picture(slices, number * TICK, number / FPS)
            media += sender.picture(sets, number * TICK, number / FPS, marks="never")
        else:
            media += sender.picture([*slices, *sets], number * TICK, number / FPS)
    is_good(outputs(received(encoding, media), tmp_path), 100)


@pytest.mark.parametrize("encoding", NAMES)
def test_they_come_once_in_a_keyframe_that_is_damaged(tmp_path: Path, encoding: str) -> None:
    media = sent(encoding, missing=dict.fromkeys(range(1, 4), NAMES[encoding]))
    first = [number for number, each in enumerate(media) if each.at_s == 0.0]
    del media[first[-1]]
    is_good(outputs(received(encoding, media), tmp_path), 75)
