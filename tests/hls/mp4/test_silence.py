"""Silence for video without sound: an init segment with a track of it, and fragments of which none is missing."""

import io
from itertools import pairwise

import av
import numpy as np
import pytest

from gateway.clock import CLOCK_RATE
from gateway.errors import BadRequestError
from hls.mp4.fragments import AUDIO_TRACK_ID, FragmentMuxer, Sample
from hls.mp4.init_segment import read_tracks
from hls.mp4.moof import parse_runs
from hls.mp4.silence import Silence, parse_silence, silence_like
from tests.support.sources.encoded import encode

BORDERS_90K = (0, 7, 3 * CLOCK_RATE + 1, 3 * CLOCK_RATE + 2, 10 * CLOCK_RATE - 1, 11 * CLOCK_RATE)


@pytest.mark.parametrize("silence", [Silence(16_000, 1), Silence(44_100, 2), Silence(48_000, 1)], ids=str)
def test_its_fragments_lie_end_to_end_and_have_the_length_that_was_said(silence: Silence) -> None:
    position = 0
    for start_90k, end_90k in pairwise(BORDERS_90K):
        data = silence.fragment(start_90k, end_90k)
        assert len(data) == silence.fragment_bytes(start_90k, end_90k)
        for run in parse_runs(data):
            assert (run.track_id, run.decode_time) == (AUDIO_TRACK_ID, position)
            position += sum(duration for duration, *_ in run.samples)
    # To the end of the video, by less than a frame more.
    assert 0 <= position - 11 * silence.sample_rate_hz < 1024
    assert parse_silence(str(silence)) == silence


def test_a_decoder_reads_the_video_as_it_was_and_the_silence_beside_it() -> None:
    silence = Silence(16_000, 1)
    packets = encode()
    muxer = FragmentMuxer(packets[0].info)
    video = [Sample(p.data, p.dts_90k, p.pts_90k, p.duration_90k, p.is_keyframe) for p in packets]
    end_90k = video[-1].dts + video[-1].duration
    init = silence.init(muxer.init)
    assert len(init) == len(muxer.init) + silence.init_bytes
    assert read_tracks(init)[AUDIO_TRACK_ID].timescale == 16_000
    whole = init + silence.fragment(0, end_90k) + muxer.fragment(video, [], 1)
    with av.open(io.BytesIO(whole), "r") as container:
        frames = [frame for packet in container.demux() for frame in packet.decode()]
    pictures = [frame for frame in frames if isinstance(frame, av.VideoFrame)]
    sounds = [frame for frame in frames if isinstance(frame, av.AudioFrame)]
    assert len(pictures) == len(packets)
    assert sum(frame.samples for frame in sounds) / 16_000 == pytest.approx(end_90k / CLOCK_RATE, abs=1024 / 16_000)
    assert max(float(np.abs(frame.to_ndarray()).max()) for frame in sounds) < 1e-4


def test_it_goes_with_the_sound_of_a_recording_where_an_encoder_has_it() -> None:
    assert silence_like(48_000, 6) == Silence(48_000, 2)
    assert silence_like(8001, 1) is None


@pytest.mark.parametrize(
    "text", ["", "48000", "48000x0", "48000x3", "47000x1", "48000x1x1", "-8000x1", "\uff14\uff18000x1"]
)
def test_other_addresses_are_refused(text: str) -> None:
    with pytest.raises(BadRequestError):
        parse_silence(text)
