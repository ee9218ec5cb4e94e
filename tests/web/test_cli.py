"""The ``liveedge`` command where it needs no gateway."""

import re
from importlib.metadata import version
from pathlib import Path

import pytest

from gateway.errors import SettingsError
from web.app import create_app
from web.cli import main
from web.settings import Settings, load_settings


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert (ended.value.code, capsys.readouterr().out) == (0, f"liveedge {version('liveedge')}\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["srve"], r"invalid choice: 'srve' \(choose from .*serve.*\n.*--help lists commands and options"),
        (["serve", "--port", "80"], r"unrecognized arguments: --port 80\nSettings are made in the environment \(PORT="),
        (["probe"], "required: URL\nliveedge probe --help lists"),
        (["webhook"], "required: test NAME"),
        (["discover", "--seconds", "x"], "--seconds: must be a number from 0 to 30"),
        (["discover", "--seconds", "31"], "--seconds: must be a number from 0 to 30"),
    ],
)
def test_a_wrong_command_says_where_the_right_ones_are(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert re.search(message, capsys.readouterr().err)


@pytest.mark.parametrize(
    ("text", "arguments", "message"),
    [
        ("workers = 'abc'", [], r"liveedge\.toml, line 1: workers: must be a whole number of processes, or auto"),
        ("workers = 0", ["check"], r"liveedge\.toml, line 1: workers: must be at least 1"),
        ("data_dir = 'nothing'", ["check"], r"liveedge\.toml, line 1: data_dir nothing is not a directory"),
        ("", ["drain"], "this command is for a cluster, and CLUSTER_URL is not set"),
        ("", ["probe", "ftp://h"], "the camera's URL does not start .*: use the URL in the camera's manual"),
        ("", ["probe", ""], "the camera's URL does not start .*: use the URL in the camera's manual"),
        (
            "capture_tls_ca_file = 'ca.pem'\ncapture_tls_verify = false",
            ["probe", "rtsps://h"],
            "capture_tls_ca_file does nothing without capture_tls_verify = true",
        ),
        (
            "database_url = 'x'",
            ["check"],
            r"liveedge\.toml, line 1: database_url cannot be used: write it as in sqlite:",
        ),
    ],
)
def test_settings_that_cannot_be_used_are_one_line(
    text: str,
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "liveedge.toml").write_text(text)
    (tmp_path / "data").mkdir()
    monkeypatch.chdir(tmp_path)
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setattr("web.cli.set_up_logging", lambda _: None)
    assert main(arguments) == 2
    told = capsys.readouterr().err
    assert re.match(f"liveedge: {message}", told), told
    assert told.count("\n") == 1


def test_the_address_of_a_cluster_that_is_no_url_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="CLUSTER_URL must be that of a PostgreSQL server"):
        create_app(load_settings(cluster_url="s3cret", data_dir=tmp_path))
