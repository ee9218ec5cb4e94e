"""The settings of the gateway package alone, as a program that uses it as a library has them."""

from pathlib import Path

import pytest

from gateway import CaptureService, load_settings
from gateway.camera_settings import StartMode
from gateway.camera_table import Given
from gateway.config.messages import InvalidSettingsError
from gateway.errors import SettingsError
from gateway.settings import GatewaySettings
from tests.support.sources.numbered import ClipEngine


@pytest.fixture(autouse=True)
def empty_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory without files, and an environment without settings."""
    monkeypatch.chdir(tmp_path)
    for name in [*GatewaySettings.model_fields, "environment", "liveedge_config"]:
        monkeypatch.delenv(name.upper(), raising=False)
    return tmp_path


def test_settings_of_other_packages_are_ignored(empty_place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (empty_place / "liveedge.toml").write_text(
        "data_dir = '/srv'\ncapture_timeout = 900\n"
        "[cameras.door]\nurl = 'rtsp://192.0.2.7/'\narchive_segment_seconds = 60\nframe_rate = 5\n"
    )
    monkeypatch.setenv("SOCKETIO_SERVER_URL", "http://127.0.0.1:9/")
    settings = load_settings()
    door = settings.camera_settings()["door"]
    assert (door.capture_timeout, door.frame_rate, door.start) == (900, 5, StartMode.ALWAYS)
    assert not hasattr(settings, "data_dir")


def test_a_wrong_value_is_refused_with_its_place(empty_place: Path) -> None:
    (empty_place / "liveedge.toml").write_text("frame_rate = 1\ncapture_timeout = 'long'")
    with pytest.raises(SettingsError, match=r"^liveedge\.toml, line 2: capture_timeout: "):
        load_settings()


def test_a_service_for_one_url_checks_the_names_of_its_settings() -> None:
    service = CaptureService.from_url("rtsp://192.0.2.7/", capture_timeout=900)
    assert service.camera().settings.capture_timeout == 900
    with pytest.raises(SettingsError, match="did you mean capture_timeout"):
        CaptureService.from_url("rtsp://192.0.2.7/", capture_timeuot=900)


def test_a_service_may_be_made_of_an_engine_and_a_url() -> None:
    for engine, name in (
        ("pyav", "pyav"),
        (ClipEngine, "tests.support.sources.numbered:ClipEngine"),
        ("tests.support.sources.numbered:ClipEngine", "tests.support.sources.numbered:ClipEngine"),
    ):
        settings = CaptureService(engine, "rtsp://192.0.2.7/").camera().settings
        assert settings.capture_engine == name
        assert settings.url is not None
        assert settings.url.get_secret_value() == "rtsp://192.0.2.7/"


def test_an_engine_that_cannot_be_used_is_a_settings_error() -> None:
    class Local(ClipEngine):
        pass

    url = "rtsp://192.0.2.7/"
    for engine, of in (("vlc", url), (Local, url), (dict, url), ("pyav", None)):
        with pytest.raises(SettingsError):
            CaptureService(engine, of)  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="and not cameras"):
        CaptureService({}, url)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (Given.SETTING, "camera door: its URL does not start with rtsp:// or rtsps://: set url to the URL in"),
        (Given.REQUEST, "camera door: url does not start with rtsp:// or rtsps://: give the URL in"),
        (Given.ARGUMENT, "the camera's URL does not start with rtsp:// or rtsps://: use the URL in"),
    ],
)
def test_a_url_that_cannot_be_opened_tells_what_who_gave_it_can_do(given: Given, told: str) -> None:
    with pytest.raises(InvalidSettingsError) as raised:
        GatewaySettings().camera("door", {"url": "rtmp://h/live", "engine": "rtsp"}, given=given)
    assert str(raised.value).startswith(f"{told} the camera's manual")
