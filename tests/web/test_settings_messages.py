"""What the settings file says is told with its line; what it cannot mean is refused with a suggestion."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.file import SettingsFile, suggestion
from gateway.config.loader import unknown_names
from gateway.errors import SettingsError
from web.settings import PREFIXES, Settings, load_settings


@pytest.fixture(autouse=True)
def empty_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in [*Settings.model_fields, "environment", "liveedge_config"]:
        monkeypatch.delenv(name.upper(), raising=False)
    return tmp_path


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "debug = true\ncapture_timeuot = 900",
            r"liveedge.toml, line 2: capture_timeuot .* did you mean capture_timeout",
        ),
        ("PORT = 8001", r"line 1: PORT is not a setting: did you mean port\?"),
        ("\n\n[camera.door]\nurl = 'rtsp://h/'", r"line 3: camera is not a setting: did you mean cameras\?"),
        ("[cameras.door]\nurl = 'rtsp://h/'\n# a comment\ncolour = 1", r"line 4: camera door: colour is not a setting"),
        ("[cameras.door]\nurl='rtsp://h/'\nrecrod = 'always'", r"line 3: camera door: recrod .* did you mean record\?"),
        ("[cameras.door]\nurl='rtsp://h/'\nport = 80", r"line 3: camera door: port is a setting of the whole gateway"),
        ("cameras.door = {url = 'rtsp://h/', colour = 1}", r"line 1: camera door: colour"),
        ("# ü\nport = 'many'", r"liveedge.toml, line 2: PORT: "),
        ("[cameras.door]\nurl='rtsp://h/'\n\ncapture_timeout = 1", r"line 4: camera door: CAPTURE_TIMEOUT: "),
        ("[cameras.door]\nurl='rtsp://h/'\nengine = 'vlc'", r"line 3: camera door: CAPTURE_ENGINE: "),
        ("[cameras.door]\nrecord='never'", r"camera door: URL: field required"),
        ("[auth.tokens.me]\nscope = ['view']", r"line 2: auth.tokens.me.scope is not a setting"),
        ("cameras = 5", r"line 1: CAMERAS: "),
        ("cameras.door = 5", r"line 1: CAMERAS.DOOR: "),
        ("port = \ndebug = true", "not valid TOML.*line 1"),
        ("debug = true\nport = 8189", "^liveedge.toml, line 2: PORT and WEBRTC_UDP_PORT are both 8189"),
        ("record = 'always'\nstart = 'on-demand'", "line 2: RECORD = always .* START = on-demand"),
        ("[cameras.d]\nurl='rtsp://h/'\nrecord='always'\nstart='on-demand'", r"line 4: camera d: record = \"always\""),
        ("[cameras.d]\nurl='rtsp://h/'\nengine='pyav'\ncapture_engine='opencv'", r"line 4: camera d: engine and"),
        ("rtsp_url='rtsp://h/'\n[cameras.default]\nurl='rtsp://h/2'", r"line 1: rtsp_url .* remove one of them"),
        ("archive_max_age = 60\n[cameras.d]\nurl='rtsp://h/'", "line 1: camera d: ARCHIVE_MAX_AGE .60 s. is shorter"),
    ],
)
def test_what_cannot_be_meant_is_refused_where_it_stands(empty_place: Path, text: str, told: str) -> None:
    (empty_place / "liveedge.toml").write_text(text)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert re.search(told, str(caught.value)), str(caught.value)


def test_a_wrong_value_of_the_environment_is_not_blamed_on_the_file(
    empty_place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (empty_place / "liveedge.toml").write_text("port = 8001")
    monkeypatch.setenv("PORT", "many")
    with pytest.raises(SettingsError, match=r"^environment: PORT: "):
        load_settings()


def test_a_file_that_is_named_has_to_be_there(empty_place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIVEEDGE_CONFIG", str(empty_place / "nosuch.toml"))
    with pytest.raises(SettingsError, match=r"nosuch\.toml, which does not exist"):
        load_settings()


def test_names_that_only_look_like_settings_are_told(empty_place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not [line for line in unknown_names(Settings, PREFIXES) if "CAPTURE" in line]
    monkeypatch.setenv("CAPTURE_TIMEOUTS", "5")
    monkeypatch.setenv("ARCHIVE_COLOUR_OF_THE_DISK", "blue")
    monkeypatch.setenv("XDG_SESSION_TYPE", "wayland")
    (empty_place / ".env").write_text("DATA_DIRR=/tmp\nPORT=8001\n")
    told = unknown_names(Settings, PREFIXES)
    assert "environment: CAPTURE_TIMEOUTS is not a setting and is ignored: did you mean CAPTURE_TIMEOUT?" in told
    assert ".env: DATA_DIRR is not a setting and is ignored: did you mean DATA_DIR?" in told
    assert "environment: ARCHIVE_COLOUR_OF_THE_DISK is not a setting and is ignored" in told
    assert not [line for line in told if re.search(": (XDG|PORT|HOME|PATH)", line)]


def test_a_name_is_suggested_only_where_it_is_close() -> None:
    assert suggestion("Frame_rat", Settings.model_fields) == "frame_rate"
    assert suggestion("colour", Settings.model_fields) is None


@given(st.text(alphabet="abc_.[]=\"'# \n1", max_size=80))
def test_any_text_is_read_or_refused(text: str) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "liveedge.toml"
        path.write_text(text)
        try:
            file = SettingsFile.read(path)
        except SettingsError:
            return
        for key in file.values:
            assert re.fullmatch(r"liveedge\.toml(, line \d+)?: ", file.where(key))
