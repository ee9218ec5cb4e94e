"""The PTZ service: moves, presets, what a camera can do (ONVIF PTZ 22.12).

Pan is positive to the right, tilt up, zoom in. Values are shares of what the camera can do, from -1 to 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.onvif.soap import Call, Service, call
from gateway.onvif.xml import Element, attribute, children, descendants, escape, number, text, to_number

PRESETS_MAX = 300

_SPACES = "http://www.onvif.org/ver10/tptz/PanTiltSpaces"
FOV_SPACE = f"{_SPACES}/TranslationSpaceFov"
"""Translations in it are of what the camera sees: the edges of the picture are -1 and 1."""

GENERIC_SPACE = f"{_SPACES}/TranslationGenericSpace"
"""Translations in it are of the camera's whole range (§5.7.2.1)."""

ESTIMATED_FOV = (1 / 6, 1 / 3)
"""What half of a picture is of the generic space, where the camera does not tell: 30° of 180° (it turns by 360°), and
17° of 50° (it tilts by 100°). Of a lens of 60°, as most cameras have that turn and do not zoom."""

ZOOMED = 0.02
"""A zoom position (0 is wide) above which :data:`ESTIMATED_FOV` means nothing."""


@dataclass(frozen=True, slots=True)
class Move:
    """Pan, tilt and zoom, each from -1 to 1."""

    pan: float = 0.0
    tilt: float = 0.0
    zoom: float = 0.0


@dataclass(frozen=True, slots=True)
class Preset:
    """A place that the camera remembers."""

    token: str
    name: str


@dataclass(frozen=True, slots=True)
class PtzOptions:
    """What a camera can do. ``fov`` are the ends of pan and tilt of the picture's edges, and ``generic`` those of its
    whole range; ``None``: it cannot turn by them."""

    has_continuous: bool = False
    has_relative: bool = False
    has_zoom: bool = False
    fov: tuple[float, float] | None = None
    generic: tuple[float, float] | None = None


UNKNOWN = PtzOptions(has_continuous=True, has_relative=True, has_zoom=True)
"""Of a camera that does not answer what it can do: Profile S requires continuous movement (§7.14)."""


def get_options(configuration: str) -> Call:
    """Asks for the spaces of a PTZ configuration."""
    return call(
        Service.PTZ,
        "GetConfigurationOptions",
        f"<tptz:ConfigurationToken>{escape(configuration)}</tptz:ConfigurationToken>",
    )


def parse_options(answer: Element) -> PtzOptions:
    """What the spaces mean. An answer without any is another one's: see :data:`UNKNOWN`."""
    if not any(descendants(answer, "Spaces")):
        return UNKNOWN
    ends: dict[str, tuple[float, float]] = {}
    has_relative = False
    for each in descendants(answer, "RelativePanTiltTranslationSpace"):
        has_relative = True
        pan, tilt = number(each, "XRange", "Max"), number(each, "YRange", "Max")
        ends[text(each, "URI")] = (pan or 1.0, tilt or 1.0)
    return PtzOptions(
        any(descendants(answer, "ContinuousPanTiltVelocitySpace")),
        has_relative,
        any(descendants(answer, "ContinuousZoomVelocitySpace")),
        ends.get(FOV_SPACE),
        ends.get(GENERIC_SPACE),
    )


def _profile(token: str) -> str:
    return f"<tptz:ProfileToken>{escape(token)}</tptz:ProfileToken>"


def _vector(move: Move, space: str = "") -> str:
    where = f' space="{space}"' if space else ""
    parts = ""
    if move.pan or move.tilt or not move.zoom:
        parts += f'<tt:PanTilt x="{move.pan:.4f}" y="{move.tilt:.4f}"{where}/>'
    if move.zoom:
        parts += f'<tt:Zoom x="{move.zoom:.4f}"/>'
    return parts


def continuous_move(token: str, move: Move, timeout_s: float) -> Call:
    """Move until ``timeout_s`` is over, or another move comes."""
    return call(
        Service.PTZ,
        "ContinuousMove",
        f"{_profile(token)}<tptz:Velocity>{_vector(move)}</tptz:Velocity><tptz:Timeout>PT{timeout_s:.1f}S</tptz:Timeout>",
    )


def relative_move(token: str, move: Move) -> Call:
    """Move by a share of the camera's range."""
    return call(Service.PTZ, "RelativeMove", f"{_profile(token)}<tptz:Translation>{_vector(move)}</tptz:Translation>")


def center_on(token: str, x: float, y: float, options: PtzOptions) -> Call | None:
    """Turn so that a place of the picture is its centre: ``x`` from 0, left, to 1, ``y`` from 0, top, to 1.

    By the field of view, else by :data:`ESTIMATED_FOV` of the whole range; ``None``: the camera turns by neither.
    """
    if options.fov is not None:
        (pan, tilt), space = options.fov, FOV_SPACE
    elif options.generic is not None:
        (pan, tilt), space = options.generic, GENERIC_SPACE
        pan, tilt = pan * ESTIMATED_FOV[0], tilt * ESTIMATED_FOV[1]
    else:
        return None
    vector = _vector(Move((x - 0.5) * 2 * pan, (0.5 - y) * 2 * tilt), space)
    return call(Service.PTZ, "RelativeMove", f"{_profile(token)}<tptz:Translation>{vector}</tptz:Translation>")


def get_status(token: str) -> Call:
    """Asks where the camera looks."""
    return call(Service.PTZ, "GetStatus", _profile(token))


def parse_zoom(answer: Element) -> float | None:
    """The zoom position, from 0, wide; ``None``: it does not say."""
    return next((to_number(attribute(each, "x")) for each in descendants(answer, "Zoom")), None)


def stop(token: str) -> Call:
    """Stop every movement."""
    return call(Service.PTZ, "Stop", f"{_profile(token)}<tptz:PanTilt>true</tptz:PanTilt><tptz:Zoom>true</tptz:Zoom>")


def go_home(token: str) -> Call:
    """Turn to the home position."""
    return call(Service.PTZ, "GotoHomePosition", _profile(token))


def go_to_preset(token: str, preset: str) -> Call:
    """Turn to a preset."""
    name = f"<tptz:PresetToken>{escape(preset)}</tptz:PresetToken>"
    return call(Service.PTZ, "GotoPreset", f"{_profile(token)}{name}")


def get_presets(token: str) -> Call:
    """Asks for the presets."""
    return call(Service.PTZ, "GetPresets", _profile(token))


def parse_presets(answer: Element) -> Sequence[Preset]:
    """The presets, in the camera's order."""
    found: list[Preset] = []
    for each in children(answer, "Preset"):
        token = attribute(each, "token")
        if token and len(found) < PRESETS_MAX:
            found.append(Preset(token, text(each, "Name")[:100] or token))
    return found
