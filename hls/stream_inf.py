"""EXT-X-STREAM-INF: a variant in a multivariant playlist, live or of a recording (rfc8216bis §4.4.6.2)."""


def stream_inf(
    uri: str, *, peak_bps: int, average_bps: int, codecs: str, width: int, height: int, frame_rate: float
) -> str:
    """The two lines of a variant. Rates are those of its segments; ``codecs`` are all that it has (RFC 6381)."""
    return (
        f"#EXT-X-STREAM-INF:BANDWIDTH={peak_bps},AVERAGE-BANDWIDTH={average_bps}"
        f',CODECS="{codecs}",RESOLUTION={width}x{height},FRAME-RATE={frame_rate:.3f}\n'
        f"{uri}\n"
    )
