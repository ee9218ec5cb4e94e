"""Messages about wrong settings: each names the place, what is wrong and what to do."""

import re
from pathlib import Path

import pytest

from gateway.config.loader import located, unknown_names
from gateway.config.messages import InvalidSettingsError
from gateway.errors import SettingsError
from web.settings import PREFIXES, Settings, load_settings


@pytest.fixture(autouse=True)
def empty_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in [*Settings.model_fields, "environment", "liveedge_config"]:
        monkeypatch.delenv(name.upper(), raising=False)
    return tmp_path


@pytest.mark.parametrize(
    ("text", "message"),
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
        ("# ü\nport = 'many'", r"liveedge.toml, line 2: port: must be a whole number$"),
        (
            "[cameras.door]\nurl='rtsp://h/'\n\ncapture_timeout = 1",
            r"line 4: camera door: capture_timeout: must be at least 100$",
        ),
        ("[cameras.door]\nurl='rtsp://h/'\nengine = 'vlc'", r"line 3: camera door: capture_engine: "),
        ("\n[cameras.door]\nrecord='never'", r"line 2: camera door: url is missing: add it to the table"),
        ("[auth.tokens.me]\nscope = ['view']", r"line 2: auth.tokens.me.scope is not a setting"),
        ("trusted_proxies = [false]", r"line 1: trusted_proxies: .*an address or a network is text"),
        ("cameras = 5", r"line 1: cameras: must be a table: write \[cameras.NAME\]"),
        ("[[cameras]]\nid = 'door'", r"line 1: cameras: must be a table: write \[cameras.NAME\], without a list$"),
        ("cameras.door = 5", r"line 1: cameras.door: must be a table"),
        ("workers = 'two'", "line 1: workers: must be a whole number of processes, or auto$"),
        ("cors_origins = ['wall.example:5173']", "line 1: cors_origins: each is an origin as .* as in https://wall"),
        ("cors_origins = ['https://wall.example/page']", "line 1: cors_origins: each is an origin as browsers send it"),
        (
            "port = 80\n[cameras.front door]\nurl = 'rtsp://h/'",
            r"line 2: is not valid TOML: .*: a name has no blanks",
        ),
        ("port = \ndebug = true", "line 1: is not valid TOML"),
        ("debug = true\nport = 8189", "^liveedge.toml, line 2: port and webrtc_udp_port are both 8189"),
        (
            "record = 'always'\nstart = 'on-demand'",
            r"line 2: record = \"always\" .* start = \"on-demand\": set record = \"capture\" to .* remove start$",
        ),
        ("[cameras.d]\nurl='rtsp://h/'\nrecord='always'\nstart='on-demand'", r"line 4: camera d: record = \"always\""),
        ("[cameras.d]\nurl='rtsp://h/'\nengine='pyav'\ncapture_engine='opencv'", r"line 4: camera d: engine and"),
        ("rtsp_url='rtsp://h/'\n[cameras.default]\nurl='rtsp://h/2'", r"line 1: rtsp_url .* remove one of them"),
        (
            "port = 'many'\n[cameras]\nurl = 'rtsp://h/'",
            "line 1: port: .*; .*line 2: cameras: url is a setting of one camera",
        ),
        ("[cameras.'a b']\nurl = 'rtsp://h/'", "line 1: camera id 'a b' cannot be used"),
        ("[auth]\ntoken = 'x'", r"line 2: auth.token is not a setting: did you mean auth_token, above the first"),
        ("[auth.tokens.me]\nscope = 1", r"line 2: auth.tokens.me.scope is not a setting: did you mean scopes\?"),
        ("[server]\nport = 1", "line 1: port is not written in a table: move it above the first"),
        ("cors_origins = ['https://a', 1]", "line 1: cors_origins, entry 2: must be text$"),
        ("trusted_proxies = 'a'", "line 1: trusted_proxies, entry 1: must be an IP address, or a network as in"),
        ("archive_max_age = '7d'", r"line 1: archive_max_age: must be a number \(unit: s\)$"),
        ("archive_url = 'ftp://h'", r"line 1: archive_url: must be as in s3://bucket/liveedge$"),
        ("node_tls_ca_file = 1", "line 1: node_tls_ca_file: must be text: a path$"),
        ("auth_jwks_url = 'https://[h:x'", "line 1: auth_jwks_url: is not a URL with a host, and a port from 1 to"),
        ("oidc_issuer = 'https://h:99999/'", "line 1: oidc_issuer: is not a URL with a host"),
        ("push_services = ['https://[h/']", "line 1: push_services: is not a URL with a host"),
        ("mqtt_url = 'h'", "line 1: mqtt_url: must be like mqtt://"),
        ("oidc_issuer = 'https://h'", "line 1: oidc_issuer is set without oidc_client_id: "),
        (
            "workers = 2\ndatabase_url = 'sqlite:///x'",
            "line 1: workers gives .* remove database_url, or set workers = 1$",
        ),
        (
            "[cameras.d]\nurl='rtsps://h/'\ncapture_tls_ca_file='x'",
            "line 3: camera d: capture_tls_ca_file does nothing without capture_tls_verify = true: set both$",
        ),
        ("[cameras.d]\nurl='ftp://h/'", "line 2: camera d: its URL does not start .*: set url to the URL in"),
        ("archive_max_age = 60", "line 1: camera demo: archive_max_age .60 s. is shorter"),
        ("archive_max_age = 60\n[cameras.d]\nurl='rtsp://h/'", "line 1: camera d: archive_max_age .60 s. is shorter"),
    ],
)
def test_a_wrong_setting_is_refused_with_its_place(empty_place: Path, text: str, message: str) -> None:
    (empty_place / "liveedge.toml").write_text(text)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert re.search(message, str(caught.value)), str(caught.value)


def test_a_wrong_value_of_the_environment_is_reported_there(empty_place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (empty_place / "liveedge.toml").write_text("port = 8001")
    monkeypatch.setenv("PORT", "many")
    with pytest.raises(SettingsError, match=r"^environment: PORT: "):
        load_settings()


def test_a_file_that_is_named_has_to_exist(empty_place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIVEEDGE_CONFIG", str(empty_place / "nosuch.toml"))
    with pytest.raises(SettingsError, match=r"nosuch\.toml, which does not exist"):
        load_settings()


def test_a_name_that_only_looks_like_a_setting_is_a_warning(empty_place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not [line for line in unknown_names(Settings, PREFIXES) if "CAPTURE" in line]
    monkeypatch.setenv("CAPTURE_TIMEOUTS", "5")
    monkeypatch.setenv("ARCHIVE_COLOUR_OF_THE_DISK", "blue")
    monkeypatch.setenv("XDG_SESSION_TYPE", "wayland")
    monkeypatch.setenv("NODE_EXTRA_CA_CERTS", "/etc/ssl/ca.pem")
    monkeypatch.setenv("NODE_SITE", "north")
    (empty_place / ".env").write_text("DATA_DIRR=/tmp\nPORT=8001\n")
    warnings = unknown_names(Settings, PREFIXES)
    assert "environment: CAPTURE_TIMEOUTS is not a setting and is ignored: did you mean CAPTURE_TIMEOUT?" in warnings
    assert ".env, line 1: DATA_DIRR is not a setting and is ignored: did you mean DATA_DIR?" in warnings
    assert "environment: ARCHIVE_COLOUR_OF_THE_DISK is not a setting and is ignored" in warnings
    assert "environment: NODE_SITE is not a setting and is ignored: did you mean NODE_SITES?" in warnings
    assert not [line for line in warnings if re.search(": (XDG|PORT|HOME|PATH|NODE_EXTRA)", line)]


def test_the_places_that_win_over_the_file_are_named(empty_place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (empty_place / "liveedge.toml").write_text("port = 8001")
    (empty_place / ".env").write_text("# text\nPORT=8001\n\n\nexport PORT='many'\nHOST=127.0.0.1\n")
    with pytest.raises(SettingsError, match=r"^\.env, line 5: PORT: "):
        load_settings()
    monkeypatch.setenv("ENVIRONMENT", "dev")
    (empty_place / ".env.dev").write_text("port=more\n")
    with pytest.raises(SettingsError, match=r"^\.env\.dev, line 1: port: "):
        load_settings()
    monkeypatch.setenv("PORT", "")
    with pytest.raises(SettingsError, match=r"^\.env\.dev, line 1: port: "):
        load_settings()
    with pytest.raises(SettingsError, match=r"^port: "):
        load_settings(port="none")


def test_the_url_of_the_default_camera_is_reported_where_it_is_set(
    empty_place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (empty_place / "liveedge.toml").write_text("debug = true\nrtsp_url = 'ftp://192.0.2.7/'")
    with pytest.raises(SettingsError, match=r"^liveedge\.toml, line 2: camera default: its URL does not start"):
        load_settings()
    monkeypatch.setenv("RTSP_URL", "ftp://192.0.2.7/")
    with pytest.raises(SettingsError, match=r"^environment: camera default: its URL does not start"):
        load_settings()


def test_an_error_has_each_fault_with_its_setting(empty_place: Path) -> None:
    (empty_place / "liveedge.toml").write_text("port = -1\nframe_rate = 'fast'")
    with pytest.raises(InvalidSettingsError) as caught:
        load_settings()
    faults = {fault.setting: str(fault.place) for fault in caught.value.faults}
    assert faults == {"port": "liveedge.toml, line 1: ", "frame_rate": "liveedge.toml, line 2: "}


def test_a_contradiction_names_each_setting_as_it_is_written(
    empty_place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (empty_place / "liveedge.toml").write_text("database_url = 'sqlite:///x'")
    monkeypatch.setenv("WORKERS", "2")
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert str(caught.value).startswith("environment: WORKERS gives each process an index of its own, and database_url")
    assert str(caught.value).endswith("remove database_url, or set WORKERS=1")


def test_no_message_has_the_value_of_a_secret(empty_place: Path) -> None:
    for name in Settings.model_fields:
        for value in ("'topsecret'", "[['topsecret']]"):
            (empty_place / "liveedge.toml").write_text(f"{name} = {value}")
            try:
                load_settings()
            except SettingsError as error:
                message = str(error).replace(f"{name}.topsecret", "").replace("id 'topsecret'", "")
                assert "topsecret" not in message, (name, message)
                assert re.match(r"liveedge\.toml, line 1: ", message), (name, message)
                assert name.upper() not in message, (name, message)


def test_what_is_found_later_is_located_too(empty_place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (empty_place / "liveedge.toml").write_text("debug = true\nhost = '0.0.0.0'")
    error = SettingsError("HOST is 0.0.0.0 and no URL is safe: set AUTH_TOKEN, or AUTH_DISABLED=true")
    told = "liveedge.toml, line 2: host is 0.0.0.0 and no URL is safe: set auth_token, or auth_disabled = true"
    assert located(error, Settings) == told
    (empty_place / "liveedge.toml").write_text("[cameras.d]\nurl = 'rtsp://h/'\nengine = 'a:B'")
    told = located(SettingsError("CAPTURE_ENGINE 'a:B' cannot be imported"), Settings)
    assert told == "liveedge.toml, line 3: engine 'a:B' cannot be imported"
    monkeypatch.setenv("HOST", "0.0.0.0")
    assert located(error, Settings) == f"environment: {error}"
    assert located(SettingsError("PORT and LANG are nowhere"), Settings) == "PORT and LANG are nowhere"
    (empty_place / "liveedge.toml").write_text("debug = ")
    assert located(error, Settings) == str(error), "the file cannot be read any more"
