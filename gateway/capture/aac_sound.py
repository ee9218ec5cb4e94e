"""AacSound: the AAC frames of one sound, with the configuration in which they can be decoded.

Theory of operation. A frame of AAC does not say its sample rate. Read with another one's tables it is soon against the
syntax, so a decoder shows which rates are possible, and the time between frames shows which of them it is. How many
channels there are is in a frame's first element (ISO/IEC 14496-3 §4.4.2.1).

Rules:

1. What the camera says is right while its frames can be decoded with it, and while its channels agree.
2. If they cannot, before :data:`PROVEN` of them could, frames are held: :data:`LEAST` at least, :data:`MOST` at most.
   As soon as all of them can be decoded with one other configuration of AAC-LC, that is the sound's.
3. A frame that cannot be decoded is dropped otherwise. Players end at it, pictures included.
4. Where the RTP clock is another rate that has the same tables, :mod:`gateway.capture.aac_rates` finds out which it is.
   Frames are dropped until then.
"""

from typing import NamedTuple

from gateway.capture.aac_rates import RateTrial, rival
from gateway.codec import aac
from gateway.codec.aac_check import AacCheck
from gateway.media import AudioInfo
from gateway.rtsp.depacketize import Frame

LC = "mp4a.40.2"

PROVEN = 8

LEAST, MOST = 3, 12
"""Frames. A third of a second is what video waits for, and a second is what consumers have no use for any more."""

RIGHT_SHARE = 3
"""Frames that can be decoded for each that cannot: it is the frame that is wrong."""

SAME_RATE = 1.04
"""Rates of a smaller ratio are the same, measured by the RTP clock: the nearest two are 8 % apart."""

PLAUSIBLE = 1.5
"""By how much the time between a few arrivals may differ from the time between their frames."""


class _Held(NamedTuple):
    frame: Frame
    now_s: float
    is_right: bool
    """Whether it can be decoded as the camera says."""


class AacSound:
    """See the module. ``info`` is what the camera says, ``clock_rate`` that of its RTP timestamps."""

    def __init__(self, info: AudioInfo, clock_rate: int) -> None:
        self.declared = info
        self.info = info
        """What the sound is, as far as is known."""
        self.dropped = 0
        self._clock_rate = clock_rate
        self._check = AacCheck(info)
        self._right = 0
        self._is_in_doubt = False
        self._held: list[_Held] = []
        rival_hz = rival(info.sample_rate_hz, clock_rate) if info.codec_string == LC else None
        self._tried_s: float | None = None
        """When the newest frame came whose rate was not known."""
        self._trial = RateTrial(info.sample_rate_hz, rival_hz) if rival_hz is not None else None

    def take(self, frame: Frame, now_s: float) -> list[Frame]:
        """The frames that can be passed on with this one, as :attr:`info` says."""
        if self._trial is not None and not self._is_rate_known(self._trial, frame, now_s):
            self._tried_s = now_s
        # The times of the last packet of a trial are still those of the declared rate.
        if self._tried_s == now_s:
            self.dropped += 1
            return []
        is_right = self._check.is_good(frame.data) and self._has_right_channels(frame.data)
        if not self._is_in_doubt:
            if is_right:
                self._right += 1
                return [frame]
            if self._right >= PROVEN:
                self.dropped += 1
                return []
        self._is_in_doubt = True
        self._held.append(_Held(frame, now_s, is_right))
        return self._settle() if len(self._held) >= LEAST else []

    def _is_rate_known(self, trial: RateTrial, frame: Frame, now_s: float) -> bool:
        """Rule 4."""
        rate_hz = trial.rate_hz(frame.timestamp, now_s)
        if rate_hz is None:
            return False
        self._trial = None
        if rate_hz == self.info.sample_rate_hz:
            return True
        self.info = _lc(rate_hz, self.info.channels)
        self._check = AacCheck(self.info)
        return False

    def _settle(self) -> list[Frame]:
        """Rule 2."""
        held = self._held
        right = sum(each.is_right for each in held)
        is_declared = self._right + right >= RIGHT_SHARE * (len(held) - right)
        other = None if is_declared else self._other()
        if other is None and not is_declared and len(held) < MOST:
            return []
        self._held, self._is_in_doubt = [], False
        if other is not None:
            self.info, self._check = other
            self._right = len(held)
            ticks = aac.ticks_per_frame(self._clock_rate, _parsed(self.info))
            return [each.frame._replace(duration=ticks) for each in held]
        self._right = PROVEN
        self.dropped += len(held) - right
        return [each.frame for each in held if each.is_right]

    def _has_right_channels(self, data: bytes) -> bool:
        channels = aac.first_channels(data)
        # Of more channels, the first element is the one in the centre (ISO/IEC 14496-3 table 1.19).
        return channels is None or channels == (self.info.channels if self.info.channels <= 2 else 1)

    def _other(self) -> tuple[AudioInfo, AacCheck] | None:
        """The configuration with which all frames can be decoded, and its decoder after them."""
        channels = [aac.first_channels(each.frame.data) for each in self._held]
        known = next((each for each in channels if each is not None), min(self.info.channels, 2))
        possible: list[int] = []
        checks: dict[int, tuple[AudioInfo, AacCheck]] = {}
        for rates_hz in aac.RATES_WITH_SAME_TABLES:
            info = _lc(rates_hz[0], known)
            check = AacCheck(info)
            if all(check.is_good(each.frame.data) for each in self._held):
                possible += rates_hz
                checks |= dict.fromkeys(rates_hz, (info, check))
        rate_hz = self._nearest(possible)
        if rate_hz is None:
            return None
        return _lc(rate_hz, known), checks[rate_hz][1]

    def _nearest(self, rates_hz: list[int]) -> int | None:
        """The rate at which these frames come: by their timestamps where that is possible, and by their arrival."""
        by_arrival_hz = self._measured_hz([each.now_s for each in self._held])
        by_clock_hz = self._measured_hz([each.frame.timestamp / self._clock_rate for each in self._held])
        for rate_hz in rates_hz if by_clock_hz else ():
            is_plausible = not by_arrival_hz or 1 / PLAUSIBLE < rate_hz / by_arrival_hz < PLAUSIBLE
            if is_plausible and 1 / SAME_RATE < rate_hz / by_clock_hz < SAME_RATE:
                return rate_hz
        measured_hz = by_arrival_hz or by_clock_hz or self.info.sample_rate_hz
        return min(rates_hz, key=lambda rate_hz: max(rate_hz / measured_hz, measured_hz / rate_hz), default=None)

    def _measured_hz(self, times_s: list[float]) -> float:
        """Frames of 1024 samples a second, from the first to the newest packet; 0 where that is not known."""
        newest = times_s.index(times_s[-1])
        elapsed_s = times_s[newest] - times_s[0]
        return newest * 1024 / elapsed_s if elapsed_s > 0 else 0.0


def _lc(rate_hz: int, channels: int) -> AudioInfo:
    config = aac.config_of(rate_hz, channels)
    return AudioInfo("aac", aac.codec_string(config) or "", rate_hz, channels, config)


def _parsed(info: AudioInfo) -> aac.AudioConfig:
    parsed = aac.parse_config(info.extradata)
    assert parsed is not None
    return parsed
