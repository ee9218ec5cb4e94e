"""gateway.onvif.media: profiles, and which of them are main and sub stream."""

import pytest

from gateway.onvif.media import Profile, choose_streams, parse_profiles
from gateway.onvif.soap import parse_answer
from tests.support.onvif_camera import ENVELOPE, profile, profile2


def stream(text: str, source: str = "s") -> Profile:
    """``h264 1920x1080 25``."""
    codec, size, *rate = text.split()
    width, height = map(int, size.split("x"))
    return Profile(text, text, source, codec, width, height, float(rate[0]) if rate else 25.0, 0)


@pytest.mark.parametrize(
    ("streams", "main", "sub"),
    [
        (["h264 1920x1080", "h264 640x360"], "h264 1920x1080", "h264 640x360"),
        (["h264 640x360", "h265 3840x2160", "h264 1280x720"], "h265 3840x2160", "h264 1280x720"),
        (["h265 3840x2160", "h265 1280x720", "h264 640x360"], "h265 3840x2160", "h264 640x360"),
        (["mjpeg 1920x1080", "h264 1280x720"], "h264 1280x720", None),
        (["h264 1920x1080 15", "h264 1920x1080 30"], "h264 1920x1080 30", None),
        (["h264 1280x720", "h264 1280x640"], "h264 1280x720", "h264 1280x640"),
        (["h264 3840x2160", "h264 1920x1080", "mjpeg 640x360"], "h264 3840x2160", "mjpeg 640x360"),
        (["h264 1920x1080"], "h264 1920x1080", None),
        (["mjpeg 640x480"], "mjpeg 640x480", None),
        (["h264 0x0", "h264 0x0 5"], "h264 0x0", None),
    ],
)
def test_main_is_the_best_picture_and_sub_a_smaller_one(streams: list[str], main: str, sub: str | None) -> None:
    ((chosen, smaller),) = choose_streams([stream(each) for each in streams])
    assert (chosen.token, smaller.token if smaller else None) == (main, sub)


def test_each_lens_or_channel_is_a_camera() -> None:
    profiles = [stream("h264 1920x1080", "a"), stream("h264 640x360", "b"), stream("h264 320x180", "a")]
    assert [(main.source, sub.token if sub else None) for main, sub in choose_streams(profiles)] == [
        ("a", "h264 320x180"),
        ("b", None),
    ]


def test_profiles_of_both_services_are_read() -> None:
    body = "<trt:GetProfilesResponse>{}</trt:GetProfilesResponse>"
    written = [profile("one", "H264", 1920, 1080, 25, 4096), profile2("two", "H265", 2560, 1440, 20, 2048)]
    found = parse_profiles(parse_answer(ENVELOPE.format(body.format("".join(written))).encode(), "GetProfiles"))
    assert found == [
        Profile("one", "one", "VideoSource_1", "h264", 1920, 1080, 25.0, 4_096_000, "ptz0", "v"),
        Profile("two", "two", "VideoSource_1", "h265", 2560, 1440, 20.0, 2_048_000, "ptz0", "v"),
    ]


def test_profiles_that_make_no_sense_are_left_out_or_bounded() -> None:
    written = [
        profile("", "H264", 1, 1, 1, 1),
        profile("x", "H264", -5, 10**15, 1, 1),
        '<trt:Profiles token="sound"><tt:Name>no video</tt:Name></trt:Profiles>',
    ]
    body = f"<trt:GetProfilesResponse>{''.join(written)}</trt:GetProfilesResponse>"
    (found,) = parse_profiles(parse_answer(ENVELOPE.format(body).encode(), "GetProfiles"))
    assert (found.token, found.width, found.height) == ("x", 0, 1_000_000_000)
