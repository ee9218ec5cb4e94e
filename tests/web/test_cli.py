"""The ``liveedge`` command where it needs no gateway."""

from importlib.metadata import version

import pytest

from web.cli import main


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert (ended.value.code, capsys.readouterr().out) == (0, f"liveedge {version('liveedge')}\n")
