"""RenditionSwitch: which rendition of its camera a viewer gets, and the change from one to the other.

Theory of operation. The best rendition for the viewer is chosen among those that it can be sent
(:mod:`gateway.webrtc.rendition_decision`), whether they are there or not. A switch captures it and waits for its next
keyframe. Until that has come, the viewer is sent the old one, and so never sees a pause. The video goes on with the
same SSRC, sequence numbers and clock.

Rules:

1. A viewer that has pinned a rendition gets that one, as long as it can be sent.
2. Only what the viewer can decode is chosen: the codecs that were negotiated, without B-frames
   (:mod:`gateway.webrtc.sendable`).
3. A rendition that is lost, or sends no pictures (:mod:`gateway.stall_watch`), is left for the other one. It is
   captured as long as it would be the best one, so that its return is seen, and taken again when it is steady.
4. The switch comes with the next keyframe. It comes at once, with a replay of the GOP, where the GOP has just begun
   (:data:`REPLAY_MAX_90K`), where the network is too narrow for the present rendition, and where that one is lost.
5. The transcoded stream takes their place while no rendition can be sent: the main stream has a codec that was not
   negotiated or B-frames, and the sub stream has too, is not there, is lost, or takes too long to come. It is left for
   a rendition that can be sent again.
"""

import asyncio
import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Literal

from gateway.camera import Camera
from gateway.camera_settings import RenditionName
from gateway.clock import CLOCK_RATE, Clock
from gateway.errors import UnavailableError
from gateway.hold import Hold
from gateway.rendition import Rendition
from gateway.transcode.transcode import Transcode
from gateway.webrtc.fanout import CameraFanout
from gateway.webrtc.fanouts import Fanouts, Source
from gateway.webrtc.rendition_decision import Decision, RenditionDecider, Situation
from gateway.webrtc.rendition_request import RenditionRequest
from gateway.webrtc.sendable import SendableStreams

log = logging.getLogger(__name__)

KIND = "webrtc"
"""The transport of these viewers in a camera's status."""

TRANSCODE_RETRY_S = 2.0
"""How often a transcode is asked for that was refused."""

REPLAY_MAX_90K = CLOCK_RATE * 3 // 10
"""A receiver decodes so much of a GOP without a visible pause."""


@dataclass(slots=True)
class _Awaited:
    """A stream whose keyframe is awaited."""

    hold: Hold[Rendition] | Hold[Transcode]
    fanout: CameraFanout
    cancel: Callable[[], None]


class RenditionSwitch:
    """The rendition of one viewer; see the module. Holds it, and its fan-out, until it is closed.

    ``current`` is held and has a keyframe already. ``move`` is called when the viewer has to be sent another fan-out.
    """

    def __init__(
        self,
        camera: Camera,
        current: Source,
        request: RenditionRequest,
        fanouts: Fanouts,
        clock: Clock,
        move: Callable[[CameraFanout], None],
    ) -> None:
        assert current.hub.info is not None
        self.camera = camera
        self.current: Source = current
        self.request = request
        self.fanout = fanouts.take(current)
        first = current.hub.info.video.codec
        self.sendable = SendableStreams(lambda video: video.codec == first)
        """What the viewer can be sent. Its ``can_decode`` is to be set once that is negotiated."""
        self.reason = ""
        """Why it gets this rendition, as a clause."""
        self.pending: Source | None = None
        """What it gets with that stream's next keyframe."""
        self.switches = 0
        self.viewer_id = ""
        """For the log."""
        self._fanouts = fanouts
        self._clock = clock
        self._move = move
        self._decider = RenditionDecider(camera, self.sendable)
        self._hold: Hold[Rendition] | Hold[Transcode] = current.hold(KIND)
        self._awaited: dict[Source, _Awaited] = {}
        self._estimate_bps: float | None = None
        self._transcode_at_s = float("-inf")
        """When a transcode may be asked for."""
        self._transcode_refusal = ""
        self._situation: object = None
        """What :meth:`update` saw last of the streams."""
        self._is_scheduled = False
        self._closed = False
        self._forget = camera.listen(self._on_change)

    @property
    def wanted_bps(self) -> float | None:
        """The bandwidth with which it would get a better one; ``None``: there is none."""
        return self._decider.wanted_bps

    @property
    def codec(self) -> str:
        """FFmpeg's name of what it is sent."""
        info = self.current.hub.info
        assert info is not None
        return self.fanout.codec or info.video.codec

    @property
    def requested(self) -> Literal["auto", "main", "sub"]:
        """What the viewer has asked for."""
        pinned = self.request.pinned
        return "auto" if pinned is None else "main" if pinned is RenditionName.MAIN else "sub"

    @property
    def awaited(self) -> Collection[Source]:
        """The streams that are captured for it besides the one that it gets."""
        return self._awaited.keys()

    @property
    def is_transcoded(self) -> bool:
        """Whether it gets what is made of a stream."""
        return isinstance(self.current, Transcode)

    def ask(self, request: RenditionRequest) -> None:
        """The viewer asks for something else. Raises ``NotFoundError`` for a rendition that the camera does not have.

        Follow it with :meth:`update`.
        """
        if request.pinned is not None:
            self.camera.rendition(request.pinned)
        self.request = replace(request, tile=request.tile or self.request.tile)

    def update(self, estimate_bps: float | None) -> None:
        """Choose again. Call it when anything has changed, and at least twice a second."""
        if self._closed:
            return
        now = self._clock.monotonic()
        self._estimate_bps, self._situation = estimate_bps, self._look()
        awaits_transcode = self.camera.transcode in self._awaited
        decision = self._decider.decide(
            Situation(now, self.current, self.request, estimate_bps, awaits_transcode, self._transcode_refusal)
        )
        self._await(decision.awaited, now)
        self._go(decision)
        # In the same step: who left a stream may wait for it.
        self._await(decision.awaited, now)
        self.pending = next((each for each in decision.awaited if self._is_coming(each)), None)

    def leave(self, rendition: Source) -> bool:
        """This rendition cannot be sent any more. Returns whether the viewer has another one, or waits for it."""
        if isinstance(rendition, Rendition):
            self.sendable.avoid(rendition, self._clock.monotonic())
        self._drop(rendition)
        if rendition is not self.current:
            return True
        info = rendition.hub.info
        has_changed = info is not None and self.fanout.codec not in (None, info.video.codec)
        if isinstance(rendition, Rendition) and info is not None and has_changed:
            is_clean = not self.sendable.had_b_frames(rendition)
            if is_clean and self.sendable.can_decode(info.video):
                # To another codec that was negotiated: it has another fan-out now.
                self.sendable.accept(rendition)
                self.fanout = self._fanouts.take(rendition)
                self._move(self.fanout)
                self._fanouts.release(rendition)
                return True
        self.update(self._estimate_bps)
        return self.current is not rendition or bool(self._awaited)

    def close(self) -> None:
        """Release everything. May be called twice."""
        if self._closed:
            return
        self._closed = True
        self._forget()
        for each in tuple(self._awaited):
            self._drop(each)
        self._hold.release()
        self._fanouts.release(self.current)

    # --- the change

    def _is_coming(self, source: Source) -> bool:
        is_lost = isinstance(source, Rendition) and source.is_lost
        return source is not self.current and source in self._awaited and not is_lost

    def _look(self) -> object:
        """What a change of the camera may have changed for this viewer."""
        streams = ((each.is_lost, bool(each.hub.gop), each.is_steady) for each in self.camera.renditions.values())
        return *streams, bool(self.camera.transcode.hub.gop)

    def _on_change(self) -> None:
        # Not at once: this is called while a rendition changes, also by a hold of this viewer.
        if not self._is_scheduled and not self._closed and self._look() != self._situation:
            self._is_scheduled = True
            asyncio.get_running_loop().call_soon(self._update_soon)

    def _update_soon(self) -> None:
        self._is_scheduled = False
        self.update(self._estimate_bps)

    def _go(self, decision: Decision) -> None:
        """Rule 4."""
        target, gop = decision.target, decision.target.hub.gop
        if target is self.current:
            self.reason = decision.reason
            return
        is_short = bool(gop) and gop[-1].dts_90k - gop[0].dts_90k <= REPLAY_MAX_90K
        if gop and (is_short or decision.at_once):
            self.reason = decision.reason
            self._switch(target)
        else:
            self.reason = f"the {target.name} stream comes with its next keyframe: {decision.reason}"

    def _await(self, sources: Collection[Source], now: float) -> None:
        """Capture these besides the current one, and no other."""
        for source in tuple(self._awaited):
            fanout, info = self._awaited[source].fanout, source.hub.info
            has_changed = info is not None and fanout.codec not in (None, info.video.codec)
            if source not in sources or source is self.current or has_changed:
                self._drop(source)
        for source in sources:
            if source is not self.current and source not in self._awaited:
                self._begin_to_await(source, now)

    def _begin_to_await(self, source: Source, now: float) -> None:
        if isinstance(source, Transcode) and now < self._transcode_at_s:
            return
        try:
            hold = source.hold("")
        except UnavailableError as error:
            # Transcodes have a limit.
            self._transcode_at_s, self._transcode_refusal = now + TRANSCODE_RETRY_S, f"it is not transcoded: {error}"
            return
        if isinstance(source, Transcode):
            self._transcode_refusal = ""
        fanout = self._fanouts.take(source)
        self._awaited[source] = _Awaited(hold, fanout, fanout.at_next_keyframe(lambda: self._on_keyframe(source)))

    def _on_keyframe(self, source: Source) -> None:
        awaited = self._awaited.get(source)
        if awaited is not None:
            awaited.cancel = awaited.fanout.at_next_keyframe(lambda: self._on_keyframe(source))
            self.update(self._estimate_bps)

    def _drop(self, source: Source) -> None:
        awaited = self._awaited.pop(source, None)
        if awaited is not None:
            awaited.cancel()
            self._fanouts.release(source)
            awaited.hold.release()

    def _switch(self, target: Source) -> None:
        """Its keyframe has come, or its GOP is replayed (rule 4)."""
        if isinstance(target, Rendition):
            self.sendable.accept(target)
        before, before_hold = self.current, self._hold
        self.current, self._hold, self.fanout = target, target.hold(KIND), self._fanouts.take(target)
        self._drop(target)
        self._decider.switched()
        self.switches += 1
        self._move(self.fanout)
        before_hold.release()
        self._fanouts.release(before)
        log.info(
            "camera %s: viewer %s gets the %s stream: %s",
            self.camera.id,
            self.viewer_id,
            "transcoded" if self.is_transcoded else target.name,
            self.reason,
            extra={"camera": self.camera.id, "viewer": self.viewer_id},
        )
