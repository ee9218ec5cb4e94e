"""SettingsFile: values with their lines, for any text."""

import re
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.file import SettingsFile, suggestion
from gateway.errors import SettingsError


def test_a_key_has_the_line_where_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "liveedge.toml"
    path.write_text("# ü\nport = 1\n[cameras.door]\nurl = 'rtsp://h/'\n\n[cameras]\nyard = {url = 'rtsp://h/'}\n")
    file = SettingsFile.read(path)
    assert str(file.where("port")) == "liveedge.toml, line 2: "
    assert str(file.where("cameras", "door", "url")) == "liveedge.toml, line 4: "
    assert str(file.where("cameras", "yard", "url")) == "liveedge.toml, line 7: ", (
        "the line of the key that contains it"
    )
    assert not file.where("host")
    assert not file.where("cameras", "door", "engine")


def test_a_file_that_does_not_exist_has_no_values(tmp_path: Path) -> None:
    assert SettingsFile.read(tmp_path / "none.toml").values == {}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a = 1\nb = '\xff'", "line 2: is not UTF-8"),
        (b"port = \nhost = 1", r"liveedge\.toml, line 1: is not valid TOML"),
        (b"host = localhost", r"^liveedge\.toml, line 1: is not valid TOML: .*column 8: text is written in quotes"),
        (b"port = 1\nhost = 'h'\n\nport = 2", r"^liveedge\.toml, line 4: port is there already, in line 1: remove"),
        (b"[cameras.a]\n[cameras.b]\n[cameras.a]", r"^liveedge\.toml, line 3: cameras\.a is there already, in line 1"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_with_its_line(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "liveedge.toml"
    path.write_bytes(content)
    with pytest.raises(SettingsError, match=message):
        SettingsFile.read(path)


def test_a_name_is_suggested_only_if_it_is_close() -> None:
    assert suggestion("Frame_rat", ["frame_rate", "frame_width"]) == "frame_rate"
    assert suggestion("colour", ["frame_rate", "port"]) is None


@given(st.text(alphabet="abc_.[]=\"'# \n1", max_size=80))
def test_any_text_is_read_or_refused(text: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "liveedge.toml"
        path.write_text(text)
        try:
            file = SettingsFile.read(path)
        except SettingsError:
            return
        for key in file.values:
            assert re.fullmatch(r"liveedge\.toml(, line \d+)?: ", str(file.where(key)))
