"""AAC (ISO/IEC 14496-3): what its AudioSpecificConfig says, and codec strings (RFC 6381 §3.3)."""

CONFIG_MIN_BYTES = 2
"""The shortest AudioSpecificConfig (§1.6.2.1): object type, sampling frequency index, channel configuration."""


def codec_string(config: bytes) -> str | None:
    """The codec string for an AudioSpecificConfig; ``None`` where it is too short to be one."""
    if len(config) < CONFIG_MIN_BYTES:
        return None
    # audioObjectType is the first five bits (§1.6.2.1).
    return f"mp4a.40.{config[0] >> 3}"
