"""Settings as data: a new setting is one edit, and everything that is made from the data has it."""

import subprocess
import sys
from pathlib import Path
from types import UnionType
from typing import Any, ClassVar, get_args

import pytest
from pydantic import Field

from gateway.config.field import Applies, Setting, SettingsGroup, names_changed, setting, settings_of
from gateway.config.loader import load, unknown_names
from gateway.errors import SettingsError
from web.settings import Settings
from web.settings_docs import example, table

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.usefixtures("place")


class WiperSettings(SettingsGroup):
    """A package's settings. ``wiper_interval`` is the one edit."""

    title: ClassVar[str] = "Wipers"

    wiper_interval: float | None = setting(
        None,
        gt=0,
        unit="s",
        unset="no wiping",
        example=30.0,
        help="time between two wipes of the lens, see [a](b.md)",
        applies=Applies.LIVE,
    )


class SettingsWithWipers(Settings, WiperSettings):
    """The whole program's settings with that group."""


def test_a_new_setting_is_loaded_from_every_place(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / "liveedge.toml").write_text("wiper_interval = 5")
    assert load(SettingsWithWipers, {}).wiper_interval == 5
    monkeypatch.setenv("WIPER_INTERVAL", "7.5")
    assert load(SettingsWithWipers, {}).wiper_interval == 7.5
    monkeypatch.setenv("WIPER_INTERVAL", "0")
    with pytest.raises(SettingsError, match=r"^environment: WIPER_INTERVAL: must be greater than 0"):
        load(SettingsWithWipers, {})


def test_a_new_setting_is_suggested_for_a_misspelt_name(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / "liveedge.toml").write_text("wiper_intervall = 5")
    with pytest.raises(SettingsError, match=r"line 1: wiper_intervall .* did you mean wiper_interval\?"):
        load(SettingsWithWipers, {})
    monkeypatch.setenv("WIPER_INTERVALL", "5")
    (warning,) = [line for line in unknown_names(SettingsWithWipers, ()) if "WIPER" in line]
    assert "did you mean WIPER_INTERVAL?" in warning


def test_a_new_setting_is_classified_for_reload() -> None:
    before = load(SettingsWithWipers, {})
    after = load(SettingsWithWipers, {"wiper_interval": 5, "port": 1, "frame_rate": 2, "capture_timeout": 900})
    assert names_changed(before, after, Applies.LIVE) == ["FRAME_RATE", "WIPER_INTERVAL"]
    assert names_changed(before, after, Applies.RUN) == ["CAPTURE_TIMEOUT"]
    assert names_changed(before, after, Applies.RESTART) == ["PORT"]


def test_a_new_setting_is_in_the_documentation_and_in_the_example() -> None:
    row = (
        "| `WIPER_INTERVAL` | no wiping | s, above 0 | time between two wipes of the lens, see [a](b.md) | at once | |"
    )
    assert "### Wipers" in table(SettingsWithWipers)
    assert row in table(SettingsWithWipers).splitlines()
    assert (
        "# --- Wipers\n\n# Time between two wipes of the lens, see a (docs/b.md). Default: no wiping. The value is an"
        " example. Unit: s.\n# wiper_interval = 30.0"
    ) in example(SettingsWithWipers)


def test_the_documentation_says_when_a_change_in_a_cameras_table_applies_if_that_differs() -> None:
    last_cells = {}
    for row in table(Settings).splitlines():
        cells = [cell.strip() for cell in row.split("|")]
        last_cells[cells[1].strip("`") if len(cells) > 1 else ""] = tuple(cells[-3:-1])
    assert last_cells["ARCHIVE_MAX_BYTES"] == ("restart", "yes, at once")
    assert last_cells["ARCHIVE_MAX_AGE"] == ("at once", "yes")
    assert last_cells["DATA_DIR"] == ("restart", "")


def test_a_setting_without_its_data_is_refused() -> None:
    with pytest.raises(TypeError, match=r"Bare\.wiper_force: define this setting with"):

        class Bare(SettingsGroup):
            wiper_force: int = Field(1)


@pytest.mark.parametrize("text", ["", " "])
def test_a_setting_with_an_empty_help_text_is_refused(text: str) -> None:
    with pytest.raises(TypeError, match=r"Mute\.wiper_force: help is empty"):

        class Mute(SettingsGroup):
            wiper_force: int = setting(1, help=text, applies=Applies.LIVE)


@pytest.mark.parametrize("applies", ["live", "soon", None])
def test_a_setting_whose_applies_is_not_one_of_the_enumeration_is_refused(applies: Any) -> None:
    with pytest.raises(TypeError, match=r"Late\.wiper_force: applies is .*, which is no Applies"):

        class Late(SettingsGroup):
            wiper_force: int = setting(1, help="force of the wiper", applies=applies)


def test_every_number_but_ports_and_a_weight_has_a_unit() -> None:
    numbers = [each for each in settings_of(Settings) if {int, float} & {each.field.annotation, *_inner(each)}]
    assert {each.name for each in numbers if not each.unit} == {
        *("port", "rtsp_port", "webrtc_udp_port", "node_weight"),
    }


def _inner(each: Setting) -> tuple[Any, ...]:
    return get_args(each.field.annotation) if isinstance(each.field.annotation, UnionType) else ()


def test_every_setting_has_a_group_a_help_text_and_a_default_or_an_example() -> None:
    settings = list(settings_of(Settings))
    assert {each.name for each in settings} == set(Settings.model_fields)
    for each in settings:
        assert each.group, each.name
        assert each.help, each.name
        assert not each.help.endswith("."), each.name
        if each.field.default in (None, []):
            assert each.example, f"{each.name} has no default, and so needs an example"


def test_documentation_and_example_are_current() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "generate-settings", "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
