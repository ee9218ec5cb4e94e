"""Settings: where a value comes from, what is refused, and that no secret is shown."""

from pathlib import Path

import pytest

from gateway.camera_settings import RecordMode, StartMode
from gateway.capture_settings import EngineName
from gateway.errors import SettingsError
from web.settings import Settings, load_settings


@pytest.fixture(autouse=True)
def empty_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory without files, and an environment without settings."""
    monkeypatch.chdir(tmp_path)
    for name in [*Settings.model_fields, "environment", "liveedge_config"]:
        monkeypatch.delenv(name.upper(), raising=False)
    return tmp_path


def test_without_settings_there_is_the_demo_camera() -> None:
    (camera_id, camera), *others = load_settings().camera_settings().items()
    assert camera_id == "demo"
    assert not others
    assert camera.capture_engine == EngineName.FAKE
    assert camera.start is StartMode.ALWAYS


def test_the_defaults_of_the_contract() -> None:
    settings = load_settings()
    assert (settings.host, settings.port, settings.webrtc_udp_port) == ("127.0.0.1", 8000, 8189)
    assert (settings.capture_timeout, settings.capture_buffer_size) == (5000, 1)
    assert (settings.connection_retry_attempts, settings.connection_retry_delay) == (3, 2.0)
    assert settings.archive_segment_seconds == 600


def test_rtsp_url_is_camera_default_and_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RTSP_URL", "rtsp://viewer:p@ss:word@192.0.2.7/stream")
    settings = load_settings()
    camera = settings.camera_settings()["default"]
    assert camera.public_url == "rtsp://192.0.2.7/stream"
    assert camera.url.get_secret_value() == "rtsp://viewer:p@ss:word@192.0.2.7/stream"
    assert "p@ss" not in f"{settings!r}{camera!r}{settings.model_dump_json()}"


def test_the_environment_wins_over_env_files_and_those_over_toml(
    empty_place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (empty_place / "liveedge.toml").write_text('port = 1001\nhost = "::1"\ncapture_timeout = 1500\nframe_rate = 5\n')
    (empty_place / ".env").write_text("PORT=1002\nHOST=127.0.0.2\nCAPTURE_TIMEOUT=2500\n")
    (empty_place / ".env.dev").write_text("PORT=1003\nHOST=127.0.0.3\n")
    assert load_settings().host == "127.0.0.2"
    monkeypatch.setenv("ENVIRONMENT", "dev")
    monkeypatch.setenv("PORT", "1004")
    settings = load_settings()
    assert (settings.port, settings.host, settings.capture_timeout, settings.frame_rate) == (1004, "127.0.0.3", 2500, 5)


def test_a_camera_of_the_file_has_the_defaults_and_its_own_settings(empty_place: Path) -> None:
    (empty_place / "liveedge.toml").write_text(
        """
        capture_timeout = 7000
        [cameras.door]
        url = "rtsp://192.0.2.7/1"
        record = "always"
        [cameras.yard]
        url = "rtsp://192.0.2.8/1"
        engine = "opencv"
        start = "on-demand"
        capture_timeout = 900
        """
    )
    cameras = load_settings().camera_settings()
    assert list(cameras) == ["door", "yard"]
    assert cameras["door"].record is RecordMode.ALWAYS
    assert cameras["door"].capture_timeout == 7000
    assert cameras["yard"].capture_engine == EngineName.OPENCV
    assert cameras["yard"].start is StartMode.ON_DEMAND
    assert cameras["yard"].timeout_s == 0.9


def test_with_an_ems_a_camera_starts_on_demand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RTSP_URL", "rtsp://192.0.2.7/1")
    monkeypatch.setenv("SOCKETIO_SERVER_URL", "http://127.0.0.1:9/")
    assert load_settings().camera_settings()["default"].start is StartMode.ON_DEMAND
    monkeypatch.setenv("START", "always")
    assert load_settings().camera_settings()["default"].start is StartMode.ALWAYS


def test_lists_are_written_with_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEBRTC_HOSTS", " 192.0.2.1, gate.example ,")
    assert load_settings().webrtc_hosts == ["192.0.2.1", "gate.example"]


@pytest.mark.parametrize(
    ("name", "value", "advice"),
    [
        ("PORT", "abc", "PORT"),
        ("PORT", "70000", "PORT"),
        ("CAPTURE_TIMEOUT", "1", "CAPTURE_TIMEOUT"),
        ("CAPTURE_ENGINE", "vlc", "CAPTURE_ENGINE"),
        ("ARCHIVE_SEGMENT_SECONDS", "0", "ARCHIVE_SEGMENT_SECONDS"),
    ],
)
def test_a_wrong_setting_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str, advice: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=advice):
        load_settings()


@pytest.mark.parametrize("url", ["ftp://u:s3cret@192.0.2.7/", "file:etc/passwd", "u:s3cret@192.0.2.7", "rtsp:/x"])
def test_a_url_that_is_not_rtsp_is_refused_without_its_password(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("RTSP_URL", url)
    with pytest.raises(SettingsError, match="rtsp://") as caught:
        load_settings().camera_settings()
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "port = ",
        '[cameras.door]\nurl = "rtsp://h/"\ncolour = 1',
        '[cameras."../x"]\nurl = "rtsp://h/"',
        "[cameras.door]",
    ],
)
def test_a_wrong_file_is_refused(empty_place: Path, text: str) -> None:
    (empty_place / "liveedge.toml").write_text(text)
    with pytest.raises(SettingsError):
        load_settings().camera_settings()
