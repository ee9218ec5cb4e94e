"""H.264 written by hand: I_PCM macroblocks, skipped ones, frames and fields, with any identifiers and parameters.

libx264 writes no field pictures, and one SPS. What it does not do is made here: every macroblock of an I picture is
I_PCM (H.264 §7.3.5), so that a picture is a plane of grey, and every macroblock of a P picture is skipped (§7.3.4).
"""

from dataclasses import dataclass

_I_PCM = 25


class BitWriter:
    """Bits, most significant first (H.264 §7.2, §9.1)."""

    def __init__(self) -> None:
        self._bits: list[int] = []

    def u(self, count: int, value: int) -> None:
        self._bits += [value >> place & 1 for place in reversed(range(count))]

    def ue(self, value: int) -> None:
        width = (value + 1).bit_length()
        self.u(2 * width - 1, value + 1)

    def se(self, value: int) -> None:
        self.ue(2 * value - 1 if value > 0 else -2 * value)

    def align(self) -> None:
        self._bits += [0] * (-len(self._bits) % 8)

    def raw(self, data: bytes) -> None:
        assert len(self._bits) % 8 == 0
        self._bits += [byte >> place & 1 for byte in data for place in reversed(range(8))]

    def unit(self, header: int) -> bytes:
        """The NAL unit: trailing bits (§7.3.2.11) and emulation prevention (§7.4.1)."""
        bits = [*self._bits, 1]
        bits += [0] * (-len(bits) % 8)
        text = "".join(map(str, bits))
        body = int(text, 2).to_bytes(len(bits) // 8, "big")
        escaped = bytearray()
        zeros = 0
        for byte in body:
            if zeros >= 2 and byte <= 3:
                escaped.append(3)
                zeros = 0
            escaped.append(byte)
            zeros = zeros + 1 if byte == 0 else 0
        return bytes((header,)) + bytes(escaped)


@dataclass(frozen=True)
class Layout:
    """An SPS and a PPS: their identifiers, the size in macroblocks (height of a frame), and what they allow."""

    sps_id: int = 0
    pps_id: int = 0
    width_mbs: int = 4
    height_mbs: int = 4
    is_interlaced: bool = False
    profile: int = 77
    quantiser: int = 26

    def sps(self) -> bytes:
        bits = BitWriter()
        bits.u(8, self.profile)
        bits.u(8, 0)
        bits.u(8, 30)
        bits.ue(self.sps_id)
        bits.ue(4)  # log2_max_frame_num_minus4: 8 bits
        bits.ue(0)  # pic_order_cnt_type
        bits.ue(4)  # log2_max_pic_order_cnt_lsb_minus4: 8 bits
        bits.ue(1)  # max_num_ref_frames
        bits.u(1, 0)
        bits.ue(self.width_mbs - 1)
        bits.ue(self.height_mbs // (2 if self.is_interlaced else 1) - 1)
        bits.u(1, not self.is_interlaced)
        if self.is_interlaced:
            bits.u(1, 0)  # mb_adaptive_frame_field_flag
        bits.u(1, 1)  # direct_8x8_inference_flag
        bits.u(1, 0)
        bits.u(1, 1)  # vui_parameters_present_flag
        bits.u(5, 0)  # aspect ratio, overscan, video signal, chroma location, timing
        bits.u(3, 0)  # no HRD, pic_struct_present_flag
        bits.u(1, 1)  # bitstream_restriction_flag
        bits.u(1, 1)
        for value in (0, 0, 10, 10, 0, 1):  # the last two: max_num_reorder_frames, max_dec_frame_buffering
            bits.ue(value)
        return bits.unit(0x67)

    def pps(self) -> bytes:
        bits = BitWriter()
        bits.ue(self.pps_id)
        bits.ue(self.sps_id)
        bits.u(1, 0)  # CAVLC
        bits.u(1, 0)
        bits.ue(0)
        bits.ue(0)
        bits.ue(0)
        bits.u(3, 0)
        bits.se(self.quantiser - 26)
        bits.se(0)
        bits.se(0)
        bits.u(3, 0)
        return bits.unit(0x68)

    def picture(
        self, frame_num: int, count: int, grey: int, *, is_idr: bool, is_intra: bool = True, bottom: bool | None = None
    ) -> bytes:
        """A slice with a whole picture. ``count`` is its picture order count. ``bottom``: a field, and which."""
        bits = BitWriter()
        bits.ue(0)  # first_mb_in_slice
        bits.ue(7 if is_intra else 5)
        bits.ue(self.pps_id)
        bits.u(8, frame_num)
        if self.is_interlaced:
            bits.u(1, bottom is not None)
            if bottom is not None:
                bits.u(1, bottom)
        if is_idr:
            bits.ue(count // 2 % 2)  # idr_pic_id: two IDR pictures in a row differ
        bits.u(8, 0 if is_idr else count)
        if not is_intra:
            bits.u(1, 0)  # num_ref_idx_active_override_flag
            bits.u(1, 0)  # ref_pic_list_modification_flag
        if is_idr:
            bits.u(2, 0)
        else:
            bits.u(1, 0)
        bits.se(0)
        macroblocks = self.width_mbs * self.height_mbs // (1 if bottom is None else 2)
        if is_intra:
            for _ in range(macroblocks):
                bits.ue(_I_PCM)
                bits.align()
                bits.raw(bytes((grey,)) * 256 + bytes((128,)) * 128)
        else:
            bits.ue(macroblocks)
        return bits.unit(0x65 if is_idr else 0x61)


def recovery_point(frames: int = 0) -> bytes:
    """An SEI with a recovery point after so many frames (§D.1.8)."""
    message = BitWriter()
    message.ue(frames)
    message.u(4, 0b1000)  # exact_match_flag, broken_link_flag, changing_slice_group_idc
    message.align()
    content = message.unit(6)[1:]
    # unit() has added trailing bits of an RBSP; the payload is what stands before them.
    payload = content[:-1] if content[-1] == 0x80 else content
    bits = BitWriter()
    bits.u(8, 6)
    bits.u(8, len(payload))
    bits.raw(payload)
    return bits.unit(6)
