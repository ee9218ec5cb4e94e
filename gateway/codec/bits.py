"""BitReader: fixed-length and exp-Golomb codes (H.264 §9.1, H.265 §9.2) of parameter sets."""

from copy import copy

UNIT_MAX_BYTES = 4096
"""How many bytes of a parameter set are read. With all scaling lists it has some hundreds. A camera may send megabytes,
and Python's arithmetic on an integer of that size is slow."""


class BitstreamError(ValueError):
    """The bits end too early, or have a value that the standard does not allow."""


class BitReader:
    """Reads bits, most significant first; those of a NAL unit without its emulation prevention bytes (H.264 §7.4.1)."""

    def __init__(self, unit: bytes, *, has_emulation_prevention: bool = True, max_bytes: int = UNIT_MAX_BYTES) -> None:
        """``has_emulation_prevention`` is ``False`` for bits that are no NAL unit. ``max_bytes`` are read."""
        payload = unit[:max_bytes]
        if has_emulation_prevention:
            payload = payload.replace(b"\x00\x00\x03", b"\x00\x00")
        self._value = int.from_bytes(payload, "big")
        self._left = len(payload) * 8

    @property
    def left(self) -> int:
        """The bits that were not read yet."""
        return self._left

    def copy(self) -> "BitReader":
        """Another reader, which is where this one is now."""
        return copy(self)

    def u(self, count: int) -> int:
        """An unsigned number of ``count`` bits."""
        if count > self._left:
            raise BitstreamError("it ends too early")
        self._left -= count
        return self._value >> self._left & (1 << count) - 1

    def octets(self, count: int) -> bytes:
        """``count`` octets, which may begin at any bit."""
        return self.u(8 * count).to_bytes(count, "big")

    def flag(self) -> bool:
        """One bit."""
        return self.u(1) == 1

    def ue(self) -> int:
        """An unsigned exp-Golomb code."""
        zeros = 0
        while not self.u(1):
            zeros += 1
            if zeros > 32:
                raise BitstreamError("an exp-Golomb code is longer than 65 bits")
        return (1 << zeros) - 1 + self.u(zeros)

    def se(self) -> int:
        """A signed exp-Golomb code."""
        code = self.ue()
        return (code + 1) // 2 if code & 1 else -(code // 2)

    def ue_max(self, limit: int) -> int:
        """An unsigned exp-Golomb code that counts something. Raises where it is above ``limit``."""
        value = self.ue()
        if value > limit:
            raise BitstreamError(f"a count is {value}, and at most {limit} is allowed")
        return value
