"""The encoders of the process that transcodes: what is used on this machine, and when a better one fails."""

import json
from fractions import Fraction
from typing import Any

import av
import pytest

from gateway.transcode import worker
from tests.support.sources.encoded_loop import encode_loop

BREAKS_AFTER = 10
"""Pictures; a trial takes three."""

Written = tuple[int, int, int, bytes]


class BreakingEncoder:
    """libx264, as a hardware encoder whose driver is gone after some pictures."""

    def __init__(self, context: Any) -> None:
        self._context = context
        self._pictures = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)

    def encode(self, frame: Any) -> list[Any]:
        self._pictures += 1
        if self._pictures > BREAKS_AFTER:
            raise av.error.OSError(5, "Input/output error", "h264_nvenc")
        found: list[Any] = self._context.encode(frame)
        return found


@pytest.fixture
def nvenc(monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine has an NVENC, as long as that lasts."""
    real = worker.open_encoder

    def open_encoder(name: str, width: int, height: int, rate: Fraction) -> Any:
        context = real("libx264", width, height, rate)
        return BreakingEncoder(context) if name == "h264_nvenc" else context

    monkeypatch.setattr(worker, "open_encoder", open_encoder)
    monkeypatch.setattr(worker, "ENCODERS", ("h264_nvenc", "libx264"))


def transcode(encoders: worker.Encoders) -> tuple[int, list[Written]]:
    """Transcode a loop. Returns the number of pictures, and all that was written."""
    written: list[Written] = []
    loop = encode_loop()
    stream = {"codec": "h264", "parameter_sets": loop.video.parameter_sets.hex(), "frame_rate": loop.fps}
    transcoding = worker.Transcoding(1, stream, encoders, lambda *message: written.append(message))
    for number, (data, _, _) in enumerate(loop.frames):
        transcoding.push(data, number * 90_000 // loop.fps, is_shown=True)
    return len(loop.frames), written


def test_an_encoder_that_fails_is_left_for_the_next_one_with_the_picture_in_hand(nvenc: None) -> None:
    encoders = worker.Encoders()
    assert encoders.current == "h264_nvenc"
    pictures, written = transcode(encoders)
    told = [json.loads(payload) for kind, _, _, payload in written if kind == worker.ENCODER]
    assert [each["encoder"] for each in told] == ["h264_nvenc", "libx264"]
    assert [each["refused"] for each in told] == ["", "h264_nvenc: failed, input/output error"]
    made = [(kind, pts) for kind, _, pts, _ in written if kind != worker.ENCODER]
    assert len({pts for _, pts in made}) == len(made) == pictures, "no picture was lost, and none made twice"
    assert made[BREAKS_AFTER][0] == worker.KEYFRAME, "viewers decode the next encoder's pictures from the first one on"
    # Its next stream does not try the broken one again.
    assert [json.loads(each[3])["encoder"] for each in transcode(encoders)[1] if each[0] == worker.ENCODER] == [
        "libx264"
    ]


def test_encoders_without_their_hardware_are_refused_with_what_libav_says() -> None:
    encoders = worker.Encoders()
    assert worker.trial(encoders.current) is None
    refused = dict(each.split(": ", 1) for each in encoders.refused.split("; ") if each)
    for name in worker.ENCODERS[: worker.ENCODERS.index(encoders.current)]:
        assert (name in refused) == (name in av.codecs_available), name
        assert refused.get(name, "why") != ""


def test_without_any_encoder_the_process_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    without_hardware = [name for name in worker.ENCODERS if worker.trial(name) is not None]
    monkeypatch.setattr(worker, "ENCODERS", ("h264_of_nobody", *without_hardware))
    with pytest.raises(RuntimeError, match=r"no H\.264 encoder that works"):
        worker.Encoders()
