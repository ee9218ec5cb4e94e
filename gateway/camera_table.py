"""A camera's table, as the file, the API or a library call gives it: what is refused in it.

Everything here raises :class:`~gateway.config.messages.InvalidSettingsError`. No message contains a value of the table.
"""

from collections.abc import Collection, Mapping
from enum import Enum

from gateway.camera_settings import CAMERA_ID, CameraSettings, RecordMode, StartMode
from gateway.capture.publish_point import PUBLISH_URLS
from gateway.capture.url import FAKE_URL
from gateway.capture_settings import EngineName
from gateway.config.messages import Fault, InvalidSettingsError, unknown
from gateway.config.place import NOWHERE, Where, respell

TABLE_ONLY = ("url", "sub_url", "onvif_url", "talk_url", "engine")
"""Names that only a camera's table has. Its other names are also settings for all cameras."""

_RTSP = ("rtsp://", "rtsps://", "rtsp+http://", "rtsps+http://")
_OTHERS = ("http://", "https://", "rtmp://", "rtmps://", "udp://", "rtp://", "file:///")
_SCHEMES: dict[str, tuple[str, ...]] = {
    EngineName.AUTO: (*_RTSP, *_OTHERS, *PUBLISH_URLS, FAKE_URL),
    EngineName.RTSP: _RTSP,
    EngineName.PYAV: (*_RTSP, *_OTHERS),
    EngineName.OPENCV: _RTSP,
}

_URL_NAMES = {"default": "RTSP_URL (or url in its table)"}
"""Where the URL of a camera is written, if not as ``url`` in its table alone."""

_AS_IN = "URL in the camera's manual, as in rtsp://user:password@192.0.2.7/stream1"


class Given(Enum):
    """How the reader of a message has given the camera, so that it says what that reader can do."""

    SETTING = "setting"
    """In the settings file or the environment."""
    REQUEST = "request"
    """In a request of the API, or a form of the page."""
    ARGUMENT = "argument"
    """As the URL on a command line."""

    def subject(self, camera_id: str) -> str:
        """How each message begins."""
        return "" if self is Given.ARGUMENT else f"camera {camera_id}: "


def check_camera_id(camera_id: str, where: Where) -> None:
    if not CAMERA_ID.fullmatch(camera_id):
        message = (
            f"camera id {camera_id!r} cannot be used: use letters, digits, '-' and '_', at most 64, and begin with a"
            " letter or a digit"
        )
        raise InvalidSettingsError(Fault(where(), "cameras", message))


def check_table(
    camera_id: str, table: object, model: type[CameraSettings], process_names: Collection[str], where: Where
) -> None:
    """Check the names of a table. ``process_names`` are the settings of the whole process."""
    if not isinstance(table, Mapping):
        message = f"cameras.{camera_id} is not a table: write [cameras.{camera_id}], and url below it"
        raise InvalidSettingsError(Fault(where(), f"cameras.{camera_id}", message))
    known = (*TABLE_ONLY, *model.model_fields)
    for name in table:
        if name in known:
            continue
        if name in process_names:
            message = f"{name} is a setting of the whole gateway: move it above the first [table] of the file"
        else:
            message = unknown(name, known)
        raise _fault(camera_id, message, where, name)
    if "engine" in table and "capture_engine" in table:
        message = "engine and capture_engine are the same setting: remove one of them"
        raise _fault(camera_id, message, where, "capture_engine")
    if table.get("record") == RecordMode.ALWAYS and table.get("start") == StartMode.ON_DEMAND:
        message = (
            'record = "always" keeps the camera captured, which contradicts start = "on-demand": set'
            ' record = "capture" to record only while it is captured, or remove start'
        )
        raise _fault(camera_id, message, where, "start")


def check_url(camera_id: str, camera: CameraSettings, where: Where, given: Given = Given.SETTING) -> None:
    """Check that each engine has URLs that it can open. ``given``: how the reader gave the URL."""
    if camera.talk_url is not None and not camera.talk_url.get_secret_value().strip().lower().startswith(_RTSP):
        message = (
            "talk_url does not start with rtsp:// or rtsps://: set it to the URL of the stream that the camera's ONVIF"
            " names, as in rtsp://user:password@192.0.2.7/onvif/media1"
        )
        raise _fault(camera_id, message, where, "talk_url")
    schemes = _SCHEMES.get(camera.capture_engine)
    if schemes is None:
        return
    # The messages do not show the URL: without its scheme it is not known where the password ends.
    others = (
        ""
        if "http://" not in schemes
        else " (or rtmp://, rtmps://, http://, https://, udp://, rtp:// or file:/// for another source)"
    )
    if not camera.url.get_secret_value().strip().lower().startswith(schemes):
        wrong = f"does not start with rtsp:// or rtsps://{others}"
        message = {
            Given.SETTING: f"its URL {wrong}: set {_URL_NAMES.get(camera_id, 'url')} to the {_AS_IN}",
            Given.REQUEST: f"url {wrong}: give the {_AS_IN}",
            Given.ARGUMENT: f"the camera's URL {wrong}: use the {_AS_IN}",
        }[given]
        raise _fault(camera_id, message, where, "url", given=given)
    if camera.sub_url is not None and not camera.sub_url.get_secret_value().strip().lower().startswith(schemes):
        message = (
            f"sub_url does not start with rtsp:// or rtsps://{others}: set it to the URL of the camera's second stream,"
            " as in rtsp://user:password@192.0.2.7/stream2"
        )
        raise _fault(camera_id, message, where, "sub_url")


def check_tls(camera_id: str, camera: CameraSettings, where: Where, given: Given = Given.SETTING) -> None:
    """Check that the certificate of a camera on ``rtsps://`` is verified where the settings ask for it."""
    urls = [
        each.get_secret_value().lower() for each in (camera.url, camera.sub_url, camera.talk_url) if each is not None
    ]
    if not any(url.startswith(("rtsps://", "rtsps+http://")) for url in urls):
        return
    names = ("capture_tls_verify", "capture_tls_ca_file", "engine")
    if camera.capture_tls_ca_file is not None and not camera.capture_tls_verify:
        message = "CAPTURE_TLS_CA_FILE does nothing without CAPTURE_TLS_VERIFY=true: set both"
        raise _fault(camera_id, message, where, *names, given=given)


def _fault(
    camera_id: str, message: str, where: Where, *names: str, given: Given = Given.SETTING
) -> InvalidSettingsError:
    place = next((place for name in names if (place := where(name))), NOWHERE)
    written = respell(message, ("rtsp_url", *CameraSettings.model_fields), where, place)
    return InvalidSettingsError(Fault(place, names[0], given.subject(camera_id) + written))
