"""EXT-X-STREAM-INF: a variant in a multivariant playlist, live or of a recording (rfc8216bis §4.4.6.2).

It says that there are no closed captions, which cameras do not have. Otherwise shaka looks for them in three segments
before it plays, also in the open one, which has no URI.
"""


def stream_inf(
    uri: str, *, peak_bps: int, average_bps: int, codecs: str, width: int, height: int, frame_rate: float
) -> str:
    """The two lines of a variant. Rates are those of its segments; ``codecs`` are all that it has (RFC 6381)."""
    return (
        f"#EXT-X-STREAM-INF:BANDWIDTH={peak_bps},AVERAGE-BANDWIDTH={average_bps}"
        f',CODECS="{codecs}",RESOLUTION={width}x{height},FRAME-RATE={frame_rate:.3f},CLOSED-CAPTIONS=NONE\n'
        f"{uri}\n"
    )


def iframe_stream_inf(uri: str, *, peak_bps: int, codec: str, width: int, height: int) -> str:
    """The line of an I-frame playlist (RFC 8216 §4.3.4.3), by which players show pictures while one scrubs.

    ``peak_bps`` is at least the rate of its segments. ``codec`` is that of the video (RFC 6381).
    """
    return f'#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH={peak_bps},CODECS="{codec}",RESOLUTION={width}x{height},URI="{uri}"\n'
