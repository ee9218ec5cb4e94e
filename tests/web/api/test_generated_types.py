"""The player's generated TypeScript types match the API documents."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.errors import LiveedgeError

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[3]


def test_the_generated_types_are_current(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "scripts" / "generate-types"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_every_error_that_an_answer_can_have_is_among_the_types_that_need_a_text() -> None:
    """``error-texts.ts`` has a text for each member of these types: TypeScript refuses it otherwise."""
    import web.app  # noqa: F401  (with it, all errors are known)

    types = (ROOT / "web" / "player" / "src" / "generated" / "errors.ts").read_text()
    waiting, codes = [LiveedgeError], set()
    while waiting:
        kind = waiting.pop()
        waiting += kind.__subclasses__()
        codes.add(kind.code)
    assert len(codes) > 30
    assert [code for code in sorted(codes) if f'  | "{code}"' not in types] == []


def test_reasons_are_literals_and_known_for_sentences_of_the_api(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    error_types = importlib.import_module("error_types")

    (tmp_path / "gateway").mkdir()
    source = tmp_path / "gateway" / "door.py"
    monkeypatch.setattr(error_types, "ROOT", tmp_path)
    source.write_text(
        'class DoorError(Exception):\n    code = "door_shut"\n\nraise DoorError().because("no_key", n=1)\n'
    )
    types = error_types.error_types()
    assert '| "door_shut"' in types
    assert '| "no_key"' in types
    # A sentence for programs, written here or above, and one for everybody.
    source.write_text(
        'SHUT = "it is shut; PATCH opens it"\n\n'
        'NotFoundError("no door; GET /api/doors lists all").because("no_door")\n'
        'ConflictError(SHUT).because("shut")\n'
        'ConflictError(f"{door} is open").because("open")\n'
    )
    [of_api] = [each for each in error_types.error_types().split("export type ") if each.startswith("ApiReason")]
    assert [f'"{reason}"' in of_api for reason in ("no_door", "shut", "open")] == [True, True, False]
    source.write_text('ConflictError("it is shut; PATCH opens it")\n')
    with pytest.raises(ValueError, match="give it a reason"):
        error_types.error_types()
    source.write_text("DoorError().because(reason)\n")
    with pytest.raises(ValueError, match="write the reason as a literal"):
        error_types.error_types()
