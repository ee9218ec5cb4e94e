"""A playlist that violates a rule of LL-HLS is rejected for that rule."""

import pytest

from gateway.clock import CLOCK_RATE
from hls.live.window import LiveWindow
from tests.hls.live.llhls_rules import RuleBroken, Watch, attributes, check, check_delta, check_media, parse
from tests.support.sources.packets import START_90K, PacketSource, Shape


def window_after(seconds: int, gop: int = 30) -> LiveWindow:
    """That of a camera that is watched."""
    window = LiveWindow(START_90K)
    for packet in PacketSource(Shape(gop=gop)).frames(15 * seconds + 8):
        window.feed(packet, packet.dts_90k / CLOCK_RATE)
        if packet.is_keyframe and window.targets is not None:
            window.media_playlist()
    return window


GOOD = window_after(12).media_playlist().body.decode()
CONTROL = "#EXT-X-TARGETDURATION:2\n#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,CAN-SKIP-UNTIL=12,HOLD-BACK=6"
LAST_PART = GOOD.strip().splitlines()[-2]


def test_the_good_one_is_good() -> None:
    check(parse(GOOD))


@pytest.mark.parametrize(
    ("section", "old", "new"),
    [
        ("4.4.1.1", "#EXTM3U\n", ""),
        ("4.1", "#EXTM3U\n", "#EXTM3U\n\t\n"),
        ("4.1", 'URI="part', 'URI="\u0085part'),
        ("4.2", "TYPE=PART,", "TYPE=PART,TYPE=PART,"),
        ("4.4.1.2", "VERSION:6", "VERSION:10"),
        ("4.4.3.1", "TARGETDURATION:2", "TARGETDURATION:1"),
        ("4.4", "#EXT-X-TARGETDURATION:2\n", "#EXT-X-TARGETDURATION:2\n#EXT-X-TARGETDURATION:2\n"),
        ("4.4.3.7", "#EXT-X-PART-INF:PART-TARGET=0.20500\n", ""),
        ("4.4.3.8", "PART-HOLD-BACK=0.61500", "PART-HOLD-BACK=0.51250"),
        ("4.4.3.8", ",HOLD-BACK=6", ",HOLD-BACK=4"),
        ("4.4.3.8", "CAN-SKIP-UNTIL=12", "CAN-SKIP-UNTIL=8"),
        ("B.1", "CAN-BLOCK-RELOAD=YES,", ""),
        ("6.2.2", "#EXT-X-PART-INF", "#EXT-X-PLAYLIST-TYPE:EVENT\n#EXT-X-PART-INF"),
        ("6.2.2", "#EXT-X-DISCONTINUITY-SEQUENCE", "#EXT-X-START:TIME-OFFSET=0\n#EXT-X-COUNT"),
        ("4.4.4.9", LAST_PART, LAST_PART.replace("0.20000", "0.20600")),
        ("4.4.4.9", LAST_PART, LAST_PART.replace("0.20000", "0.17400") + "\n" + LAST_PART.replace("m4s", "mp4")),
        ("4.4.4.9", LAST_PART, LAST_PART + "\n" + LAST_PART),
        ("4.4.4.9", LAST_PART, LAST_PART + "\n#EXT-X-PROGRAM-DATE-TIME:2026-11-21T18:50:00.000Z"),
        ("4.4.4.9", LAST_PART, LAST_PART + "\n#EXT-X-DISCONTINUITY"),
        ("4.4.4.9", LAST_PART, LAST_PART + '\n#EXT-X-MAP:URI="other.mp4"'),
        ("4.4.4.9", "#EXTINF:2.00000", "#EXTINF:1.80000"),
        ("4.4.4.5", "#EXT-X-MAP", "#EXT-X-MAPPE"),
        ("6.2.1", "18:50:02.000Z\n", '18:50:02.000Z\n#EXT-X-MAP:URI="other.mp4"\n'),
        ("6.2.1", "#EXT-X-PROGRAM-DATE-TIME:2026-11-21T18:50:02.000Z\n", ""),
        ("6.2.1", "18:50:04.000Z", "18:50:02.500Z"),
        ("4.4.4.6", "18:50:04.000Z", "18:50:04Z"),
        ("6.2.1", "#EXTINF:2.00000", "#EXT-X-GAP\n#EXTINF:2.00000"),
        ("6.2.2", LAST_PART + "\n", ""),
        ("6.2.6", "#EXT-X-PRELOAD-HINT:TYPE=PART", "#EXT-X-PRELOAD-HINT:TYPE=MAP"),
        ("4.4.5.4", "#EXT-X-PRELOAD-HINT", '#EXT-X-RENDITION-REPORT:URI="x.m3u8"\n#EXT-X-PRELOAD-HINT'),
        ("4.4.4.1", "#EXTINF:2.00000,\n", ""),
    ],
)
def test_one_broken_line_is_found(section: str, old: str, new: str) -> None:
    assert old in GOOD
    broken = GOOD.replace(old, new)
    if section == "6.2.2" and new == "":
        # All parts of the open segment, and of the last whole one.
        broken = "\n".join(line for line in GOOD.split("\n") if not line.startswith("#EXT-X-PART:"))
    with pytest.raises(RuleBroken, match=rf"^§{section}:"):
        check(parse(broken))


@pytest.mark.parametrize(
    ("section", "old", "new"),
    [
        ("6.2.1", CONTROL, CONTROL.replace(":2", ":3").replace("12", "18").replace("=6", "=9")),
        ("6.2.1", "PART-TARGET=0.20500", "PART-TARGET=0.20400"),
        ("6.2.1", "PART-HOLD-BACK=0.61500", "PART-HOLD-BACK=0.63000"),
        ("6.2.2", "MEDIA-SEQUENCE:", "MEDIA-SEQUENCE:-"),
        ("6.2.2", "DISCONTINUITY-SEQUENCE:", "DISCONTINUITY-SEQUENCE:1"),
        ("6.2.1", "18:50:04.000Z", "18:50:04.001Z"),
        ("6.2.1", "init-", "init-0"),
        ("6.2.1", "#EXTINF:2.00000", "#EXTINF:2.00001"),
        ("6.2.1", LAST_PART, LAST_PART + ",INDEPENDENT=YES"),
        ("6.2.1", LAST_PART + "\n", ""),
    ],
)
def test_a_changed_past_is_found(section: str, old: str, new: str) -> None:
    assert old in GOOD
    watch = Watch(punctual_s=0.0)
    watch.see(GOOD, 0.0)
    with pytest.raises(RuleBroken, match=rf"^§{section}:"):
        watch.see(GOOD.replace(old, new), 0.1)


def test_late_parts_and_broken_hints_are_found() -> None:
    later = window_after(13).media_playlist().body.decode()
    watch = Watch(punctual_s=0.0)
    watch.see(GOOD, 0.0)
    with pytest.raises(RuleBroken, match="within the part target"):
        watch.see(later, 1.0)
    watch = Watch(punctual_s=0.0)
    watch.see(GOOD, 0.0)
    hint = parse(GOOD).hints[0]["URI"]
    with pytest.raises(RuleBroken, match=r"^§4\.4\.5\.3"):
        watch.see(later.replace(hint, "part-0-0.m4s"), 0.1)


def test_a_window_that_is_too_short_is_found() -> None:
    watch = Watch(punctual_s=10.0)
    watch.see(GOOD, 0.0)
    playlist = parse(GOOD)
    first = playlist.complete[4].msn
    head, _, _ = GOOD.partition("#EXT-X-PROGRAM-DATE-TIME")
    rest = GOOD[GOOD.index("#EXT-X-PROGRAM-DATE-TIME:2026-11-21T18:50:08") :]
    head = head.replace(f"SEQUENCE:{playlist.media_sequence}", f"SEQUENCE:{first}")
    body = rest.replace("Z\n", f'Z\n#EXT-X-MAP:URI="{playlist.segments[0].map_uri}"\n', 1)
    with pytest.raises(RuleBroken, match="three target durations"):
        watch.see(head + body, 0.1)


def test_a_delta_that_skips_too_much_is_found() -> None:
    window = window_after(60)
    full = window.media_playlist().body.decode()
    delta = window.media_playlist(delta=True).body.decode()
    assert "#EXT-X-SKIP:SKIPPED-SEGMENTS=1\n" in delta
    check_delta(parse(full), parse(delta))
    with pytest.raises(RuleBroken, match=r"^§6\.2\.5\.1"):
        check_delta(parse(full), parse(delta.replace("SEGMENTS=1", "SEGMENTS=2")))


def test_media_that_lies_is_found() -> None:
    window = window_after(12)
    playlist = parse(GOOD)
    media = {name: bytes(window.media(name) or b"") for name in _names(GOOD)}
    check_media(playlist, media.get)
    part = playlist.segments[-1].parts[0].uri
    for broken in ({part: b""}, {part: media[playlist.segments[-1].parts[1].uri] * 2}):
        with pytest.raises(RuleBroken):
            check_media(playlist, {**media, **broken}.get)
    whole = playlist.complete[-1].uri
    assert whole is not None
    with pytest.raises(RuleBroken, match="hold the same"):
        check_media(playlist, {**media, whole: media[whole][:-1]}.get)


def test_attribute_lists_are_read_strictly() -> None:
    assert attributes('A=1,B="x,y",C-D=YES') == {"A": "1", "B": "x,y", "C-D": "YES"}
    with pytest.raises(RuleBroken):
        attributes("A=1,,B=2")


def _names(text: str) -> list[str]:
    playlist = parse(text)
    names = [part.uri for segment in playlist.segments for part in segment.parts]
    names += [segment.uri for segment in playlist.complete if segment.uri]
    names += [segment.map_uri for segment in playlist.segments if segment.map_uri]
    return names
