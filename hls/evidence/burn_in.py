"""The process that burns the time into the pictures of a clip.

    python hls/evidence/burn_in.py CLIP RESULT < SPANS

It is started by :mod:`hls.evidence.burn_process`, by its path, so it imports nothing of the gateway. ``SPANS`` is JSON:
``label`` and ``spans``, pairs of a time of the clip and the wall clock there, both in 90 kHz ticks.

Rules:

1. It has the lowest priority: cameras and viewers come first.
2. It reports the clip's time, in 90 kHz ticks, on a line of standard output every :data:`REPORT_FRAMES` frames. It ends
   when its standard output is closed.
3. Sound is copied. Pictures are encoded as H.264 in the size of the source. One that cannot be decoded is left out, and
   counted: the last line is ``left out NUMBER``.
"""

import json
import os
import sys
from bisect import bisect_right
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray

NICENESS = 15

TICKS = 90_000

REPORT_FRAMES = 10

LEFT_OUT = "left out"

THREADS = 1

ENCODERS: dict[str, dict[str, str]] = {
    "libx264": {"preset": "veryfast", "crf": "20", "x264-params": "log=-1"},
    "libopenh264": {},
}

BLACK, WHITE, GREY = 16, 235, 128
"""Of limited-range YCbCr (ITU-R BT.709 §4)."""


def text_at(at_90k: int, spans: list[tuple[int, int]], label: str) -> str:
    """What is written into the picture of a time of the clip."""
    offset_90k, wall_90k = spans[max(0, bisect_right(spans, (at_90k, 1 << 62)) - 1)]
    now_90k = wall_90k + max(0, at_90k - offset_90k)
    moment = datetime.fromtimestamp(now_90k // TICKS, UTC)
    return f"{label} {moment:%Y-%m-%d %H:%M:%S}.{now_90k % TICKS // 90:03d} UTC"


def write_text(planes: NDArray[np.uint8], width: int, height: int, text: str) -> None:
    """Write a line at the bottom left of a picture in I420, shape (height * 3 / 2, width): white on black."""
    scale = max(0.4, height / 900)
    thickness = max(1, round(scale * 1.6))
    (text_width, text_height), below = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, thickness)
    if text_width + 8 > width:
        scale *= (width - 8) / text_width
        thickness = 1
        (text_width, text_height), below = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, thickness)
    box_height = min(height, (text_height + below + 10) // 2 * 2)
    box_width = min(width, (text_width + 9) // 2 * 2)
    top = (height - box_height) // 2 * 2
    luma = np.ascontiguousarray(planes[:height])
    luma[top:, :box_width] = BLACK
    at = (4, height - below - 4)
    cv2.putText(luma, text, at, cv2.FONT_HERSHEY_SIMPLEX, scale, WHITE, thickness, cv2.LINE_AA)
    planes[:height] = luma
    chroma = planes[height:].reshape(2, height // 2, width // 2)
    chroma[:, top // 2 :, : box_width // 2] = GREY


def burn_in(source: str, result: str, spans: list[tuple[int, int]], label: str) -> int:
    """Write ``result``; how many pictures are left out. Raises PyAV's errors."""
    with av.open(source) as given, av.open(result, "w", options={"movflags": "faststart"}) as made:
        video = given.streams.video[0]
        video.thread_count = THREADS
        width, height = video.codec_context.width // 2 * 2, video.codec_context.height // 2 * 2
        encoder = next(name for name in ENCODERS if name in av.codecs_available)
        encoded: Any = made.add_stream(encoder, rate=video.average_rate or 25, options=ENCODERS[encoder])
        encoded.width, encoded.height, encoded.pix_fmt = width, height, "yuv420p"
        encoded.codec_context.time_base = Fraction(1, TICKS)
        encoded.codec_context.thread_count = THREADS
        made.metadata["creation_time"] = datetime.fromtimestamp(spans[0][1] // TICKS, UTC).isoformat()
        sounds = {each.index: made.add_stream_from_template(each) for each in given.streams.audio[:1]}
        given_frames, frames, last = 0, 0, -1
        for packet in given.demux(video, *given.streams.audio[:1]):
            if packet.stream.index in sounds:
                if packet.dts is not None and packet.pts is not None and packet.pts >= 0:
                    packet.stream = sounds[packet.stream.index]
                    made.mux(packet)
                continue
            # Those before 0 are there to be decoded alone.
            given_frames += packet.size > 0 and packet.pts is not None and packet.pts >= 0
            try:
                pictures = video.decode(packet)
            except av.InvalidDataError:
                continue
            for picture in pictures:
                if picture.pts is None or picture.time_base is None:
                    continue
                at_90k = int(picture.pts * picture.time_base * TICKS)
                if at_90k <= last or at_90k < 0:
                    continue
                last = at_90k
                planes: Any = picture.reformat(width, height, "yuv420p").to_ndarray()
                write_text(planes, width, height, text_at(at_90k, spans, label))
                frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
                frame.pts, frame.time_base = at_90k, Fraction(1, TICKS)
                made.mux(encoded.encode(frame))
                frames += 1
                if frames % REPORT_FRAMES == 0:
                    print(at_90k, flush=True)  # noqa: T201
        made.mux(encoded.encode())
        return given_frames - frames


def main() -> None:
    os.nice(NICENESS)
    source, result = sys.argv[1:3]
    given = json.loads(sys.stdin.read())
    spans = [(int(offset), int(wall)) for offset, wall in given["spans"]]
    left_out = burn_in(source, result, spans, str(given["label"]))
    print(f"{LEFT_OUT} {left_out}", flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
