"""Offers whose sections do not share a transport, as clients without BUNDLE make them."""

import pytest
from aiortc.sdp import MediaDescription

from gateway.media import AudioInfo
from gateway.webrtc.sdp.negotiation import INACTIVE_TRANSPORTS_MAX, TRANSPORT_CC, negotiate
from gateway.webrtc.sdp.offer import parse_offer
from tests.gateway.webrtc.sdp.test_answer import AUDIO, DATA, FINGERPRINT, HEAD, LOCAL, VIDEO, answer, meet, sends
from tests.gateway.webrtc.wire import INFO

SOUND = sends(audio=AudioInfo("aac", "", 16_000, 1))
TRANSPORT = HEAD[HEAD.index("a=ice-ufrag") :]
OTHER = TRANSPORT.replace("abcd\n", "efgh\n", 1).replace("abcdefgh", "zyxwvuts").replace("AB:", "CD:")
BARE = HEAD[: HEAD.index("a=group")]
"""A head without BUNDLE group and transport."""

UNBUNDLED = BARE + VIDEO + TRANSPORT + AUDIO + OTHER


def credentials(media: MediaDescription) -> tuple[str | None, str | None]:
    assert media.ice is not None
    return media.ice.usernameFragment, media.ice.password


def test_sound_has_the_transport_that_its_section_offers() -> None:
    negotiated = meet(UNBUNDLED, SOUND)
    assert [each.remote_username for each in negotiated.transports] == ["abcd", "efgh"]
    assert negotiated.audio_transport is not None
    assert negotiated.audio_transport.fingerprints == (("sha-256", FINGERPRINT.replace("AB:", "CD:")),)
    result = answer(UNBUNDLED, SOUND)
    assert not result.group
    assert [(media.port, media.direction) for media in result.media] == [(9, "sendonly"), (9, "sendonly")]
    assert [credentials(media) for media in result.media] == [*LOCAL.credentials]
    assert all(media.ice_candidates for media in result.media)


@pytest.mark.parametrize("order", [AUDIO + OTHER + VIDEO + TRANSPORT, VIDEO + TRANSPORT + AUDIO + OTHER])
def test_the_order_of_the_sections_and_missing_tags_do_not_matter(order: str) -> None:
    offer = BARE + order.replace("a=mid:0\n", "").replace("a=mid:1\n", "")
    negotiated = meet(offer, SOUND)
    assert [each.remote_username for each in negotiated.transports] == ["abcd", "efgh"]
    assert {media.kind: credentials(media) for media in answer(offer, SOUND).media} == {
        "video": LOCAL.credentials[0],
        "audio": LOCAL.credentials[1],
    }


def test_each_transport_has_its_own_dtls_role() -> None:
    negotiated = meet(UNBUNDLED.replace("zyxwvutsijklmnopqrstuvwx", "z" * 24) + "a=setup:passive\n", SOUND)
    assert [each.dtls_role for each in negotiated.transports] == ["server", "client"]


def test_a_transport_that_cannot_be_used_costs_the_sound_only() -> None:
    for broken in (OTHER.replace("efgh\n", "e\n"), OTHER.replace("sha-256", "sha-1"), ""):
        offer = BARE + VIDEO + TRANSPORT + AUDIO + broken
        assert meet(offer, SOUND).audio is None
        assert [media.port for media in answer(offer, SOUND).media] == [9, 0]


def test_without_sound_its_section_is_rejected() -> None:
    assert len(meet(UNBUNDLED, INFO).transports) == 1
    assert [media.port for media in answer(UNBUNDLED, INFO).media] == [9, 0]


def test_bundled_sound_comes_before_sound_with_its_own_transport() -> None:
    head = BARE + "a=group:BUNDLE 0 1\n"
    offer = head + AUDIO.replace("a=mid:1", "a=mid:2") + OTHER + VIDEO + TRANSPORT + AUDIO
    negotiated = meet(offer, SOUND)
    assert negotiated.audio is not None
    assert (negotiated.audio.index, negotiated.audio_transport) == (2, None)
    assert [media.port for media in answer(offer, SOUND).media] == [0, 9, 9]


def test_sound_in_another_bundle_group_brings_that_group_along() -> None:
    head = BARE + "a=group:BUNDLE 0\na=group:BUNDLE 2 1\n"
    offer = head + VIDEO + TRANSPORT + AUDIO + OTHER + DATA + OTHER
    negotiated = meet(offer, SOUND)
    assert negotiated.audio_transport is not None
    assert negotiated.audio_transport.bundle == ("2", "1")
    assert negotiated.audio_transport.has_data_channels
    assert not negotiated.transport.has_data_channels
    result = answer(offer, SOUND)
    assert [str(group) for group in result.group] == ["BUNDLE 0", "BUNDLE 2 1"]
    assert [credentials(media) for media in result.media] == [LOCAL.credentials[place] for place in (0, 1, 1)]


def test_sound_of_its_own_has_no_part_in_the_videos_feedback() -> None:
    """Transport-wide sequence numbers count the packets of one transport."""
    wide = f"a=extmap:3 {TRANSPORT_CC}\na=rtcp-fb:111 transport-cc\n"
    audio = meet(BARE + VIDEO + TRANSPORT + AUDIO + wide + OTHER, SOUND).audio
    assert audio is not None
    assert TRANSPORT_CC not in audio.extensions
    assert not audio.feedback


def test_an_unbundled_data_channel_is_rejected() -> None:
    offer = BARE + DATA + OTHER + VIDEO + TRANSPORT + AUDIO + OTHER
    assert [media.port for media in answer(offer, SOUND).media] == [0, 9, 9]


def test_inactive_sections_have_transports_too() -> None:
    """Otherwise webrtcbin takes the video that follows for the inactive one."""
    inactive = VIDEO.replace("recvonly", "inactive") + OTHER
    offer = BARE + inactive.replace("a=mid:0", "a=mid:7") + VIDEO + TRANSPORT
    negotiated = meet(offer, SOUND)
    assert [each.remote_username for each in negotiated.transports] == ["abcd", "efgh"]
    result = answer(offer, SOUND)
    assert [(media.port, media.direction) for media in result.media] == [(9, "inactive"), (9, "sendonly")]
    assert [credentials(media) for media in result.media] == [LOCAL.credentials[1], LOCAL.credentials[0]]


def test_the_number_of_transports_has_a_limit() -> None:
    inactive = "".join(
        VIDEO.replace("recvonly", "inactive").replace("a=mid:0", f"a=mid:x{n}") + OTHER for n in range(9)
    )
    negotiated = meet(BARE + inactive + VIDEO + TRANSPORT + AUDIO + OTHER, SOUND)
    assert len(negotiated.transports) == 2 + INACTIVE_TRANSPORTS_MAX
    assert [negotiated.place_of(index) for index in range(11)] == [2, 3, *[None] * 7, 0, 1]


def test_what_has_one_transport_takes_no_other() -> None:
    """A counter-offer of ours has one, and a client may answer it without BUNDLE."""
    offer = parse_offer(UNBUNDLED + VIDEO.replace("recvonly", "inactive").replace("a=mid:0", "a=mid:7") + OTHER)
    negotiated = negotiate(offer, SOUND, "door", may_have_own_transports=False)
    assert len(negotiated.transports) == 1
    assert negotiated.audio is None
