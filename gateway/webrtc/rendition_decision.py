"""RenditionDecider: which stream of its camera a viewer is to be sent, of what there is and what it can decode.

The rules are those of :mod:`gateway.webrtc.rendition_switch`, which does what is decided here.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from gateway.camera import Camera
from gateway.camera_settings import RenditionName, TranscodeMode
from gateway.rendition import Rendition
from gateway.transcode.transcode import Transcode
from gateway.webrtc.bandwidth.rendition_choice import RenditionChooser
from gateway.webrtc.fanouts import Source
from gateway.webrtc.rendition_request import TRANSCODED, RenditionRequest, describe
from gateway.webrtc.sendable import SendableStreams

TRANSCODE_AFTER_S = 3.0
"""A sub stream that was not captured takes a second to connect, and one or two to its keyframe."""


@dataclass(frozen=True, slots=True)
class Situation:
    """What is true of the viewer now. ``at_s`` is monotonic seconds."""

    at_s: float
    current: Source
    request: RenditionRequest
    estimate_bps: float | None
    awaits_transcode: bool
    transcode_refusal: str
    """Why the last wish for a transcode was refused, as a clause; empty if it was not."""


@dataclass(frozen=True, slots=True)
class Decision:
    """``target`` is to be sent as soon as it has a keyframe, and ``awaited`` captured, best first."""

    target: Source
    reason: str
    awaited: Collection[Source] = ()
    at_once: bool = False
    """Whether rule 4 allows a replay, whatever the length of the GOP."""


class RenditionDecider:
    """Of one viewer. Ask it when anything has changed, and at least twice a second."""

    def __init__(self, camera: Camera, sendable: SendableStreams) -> None:
        self.wanted_bps: float | None = None
        """The bandwidth with which the viewer would get a better one; ``None``: there is none."""
        self._camera = camera
        self._sendable = sendable
        self._chooser = RenditionChooser()
        self._dark_since_s: float | None = None
        """Since when there was nothing to send."""

    def switched(self) -> None:
        """The viewer has another stream, which is to have its time."""
        self._dark_since_s = None

    def decide(self, now: Situation) -> Decision:
        """What the viewer is to be sent, and what is to be captured for it."""
        at_s = now.at_s
        for each in self._camera.renditions.values():
            if each is not now.current:
                self._sendable.look(each, at_s)
        self._dark_since_s = None if _is_sending(now.current) else self._dark_since_s or at_s
        refusals = {each: self._sendable.refusal(each, at_s) for each in self._camera.renditions.values()}
        possible = {each.name: each for each, refusal in refusals.items() if refusal is None}
        why_not = "; ".join(f"the {each.name} stream {refusal}" for each, refusal in refusals.items() if refusal)
        if not possible:
            self.wanted_bps = None
            return self._substitute(why_not, [], refusals, now)
        best, reason, is_narrow = self._best(possible, why_not, now)
        is_sending = _is_sending(now.current) and (
            isinstance(now.current, Transcode) or now.current in possible.values()
        )
        if best is now.current and is_sending:
            return Decision(best, reason)
        had_b_frames = self._sendable.had_b_frames(best)
        if self._is_ready(best) and (best.is_steady or not is_sending):
            return Decision(best, reason, [best], at_once=is_narrow or had_b_frames or not is_sending)
        lack = f"the {best.name} stream {self._lack(best)}"
        others = [each for each in possible.values() if each is not best]
        present = next((each for each in others if each is now.current and is_sending), None)
        other = present or next((each for each in others if self._is_ready(each)), None)
        if other is not None:
            return Decision(other, lack, [best, other], at_once=not is_sending or isinstance(now.current, Transcode))
        lacks = [lack, *(f"the {each.name} stream {self._lack(each)}" for each in others)]
        why = "; ".join([why_not, *lacks] if why_not else lacks)
        return self._substitute(why, [best, *others], refusals, now)

    def _best(
        self, possible: Mapping[RenditionName, Rendition], why_not: str, now: Situation
    ) -> tuple[Rendition, str, bool]:
        """The best of what may be sent, why, and whether the network is too narrow for what is sent."""
        pinned = now.request.pinned
        if pinned is not None and pinned in possible:
            self.wanted_bps = None
            return possible[pinned], "it was asked for", False
        described = describe(possible)
        choice = self._chooser.choose(now.at_s, described, estimate_bps=now.estimate_bps, tile=now.request.tile)
        self.wanted_bps = choice.wanted_bps
        present = next((each for each in described if each.name == now.current.name), None)
        is_narrow = now.estimate_bps is not None and present is not None and now.estimate_bps < present.needed_bps
        if pinned is not None and pinned not in self._camera.renditions:
            why_not = f"the camera has no {pinned} stream any more"
        return possible[RenditionName(choice.rendition.name)], why_not or choice.reason, is_narrow

    def _substitute(
        self, why: str, awaited: list[Rendition], refusals: Mapping[Rendition, str | None], now: Situation
    ) -> Decision:
        """Rule 5. ``why`` there is no rendition to send."""
        transcode = self._camera.transcode
        if now.current is transcode or self._may_transcode(refusals, now):
            is_waiting = now.current is not transcode and not transcode.hub.gop
            reason = f"{why}; so the main stream is transcoded"
            if now.transcode_refusal and is_waiting:
                reason = f"{why}; {now.transcode_refusal}"
            target: Source = now.current if is_waiting else transcode
            return Decision(target, reason, [*awaited, transcode], at_once=True)
        return Decision(now.current, why, awaited)

    def _may_transcode(self, refusals: Mapping[Rendition, str | None], now: Situation) -> bool:
        """Rule 5. A main stream that is away has nothing to transcode, but may come back."""
        main, sub = self._camera.main, self._camera.sub
        is_possible = self._camera.settings.transcode is TranscodeMode.AUTO and self._sendable.can_decode(TRANSCODED)
        is_sendable = refusals[main] is None and self._sendable.is_settled(main)
        if not is_possible or is_sendable or main.is_lost:
            return False
        if now.awaits_transcode or sub is None or refusals[sub] is not None or sub.is_lost:
            return True
        return self._dark_since_s is not None and now.at_s - self._dark_since_s >= TRANSCODE_AFTER_S

    def _is_ready(self, rendition: Rendition) -> bool:
        """Whether it may be sent from its next keyframe on."""
        return bool(rendition.hub.gop) and rendition.has_pictures and self._sendable.is_settled(rendition)

    def _lack(self, rendition: Rendition) -> str:
        """Why it is not sent, as what follows its name."""
        if rendition.is_lost:
            return "is lost"
        if not rendition.hub.gop:
            return "is not there yet"
        if not rendition.has_pictures:
            return "sends no pictures at present"
        return "had B-frames a moment ago" if self._sendable.had_b_frames(rendition) else "was away a moment ago"


def _is_sending(source: Source) -> bool:
    if isinstance(source, Transcode):
        return bool(source.hub.gop) and source.source.has_pictures
    return source.has_pictures
