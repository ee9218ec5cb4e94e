"""scripts/check-words: it finds the phrases of its list, and nothing else."""

import subprocess
import sys
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[1] / "scripts" / "check-words"

BAD = [
    "400 for what cannot be meant",
    "the GOP for who waits when a limit goes",
    "Whoever asks gets the newest picture",
    "A newcomer gets the current GOP",
    "what went wrong is told in the log",
    "The lock lets go of the directory",
    "The picture is back for good",
    "An unknown field is of no more interest",
    "while the disk is well",
    "what is ill now",
    "a token that can be had by anybody",
    "the same, in words",
    "it goes on all the same",
    "Commands are obeyed in order",
    "cameras that came by API",
    "The roof: routes over the gateway",
    "The ground floor is a library",
    "Knocking: poll the port",
    "through each door comes the same command",
    "the sweeper deletes old files",
    "the next rung of the ladder",
    "a camera in bad weather",
    "The index is mended at the next start",
    "the crowd behind one address",
    "stopped till then",
    "a file that is not ours",
    "/asyncapi.json lists what there is",
    "Accepted are addresses and names",
    "a camera gives no pictures",
    "news of a camera",
    "The viewer has gone",
    "if audio had come",
    "States are told apart by shape",
]

GOOD = [
    "400 invalid request",
    "WebRTC: replay the GOP when a bandwidth limit is removed",
    "the clients who send the most requests",
    "States are distinguished by shape",
    "the client is told to wait",
    "for good reason, and on a good network",
    "on a good connection, for good connections too",
    "the delay is well below the limit",
    "bodies are well-formed",
    "Math.floor(time) rounds down",
    "the fragment at the start of each file",
    "recommended settings and amended headers",
    "the door camera, whose id is door",
    "adaptive players switch on a bitrate ladder",
    "toggle: material/weather-night",
    "Home Assistant at work",
]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = spec_from_loader("check_words", SourceFileLoader("check_words", str(SCRIPT)))
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_list_has_at_least_twenty_phrases_each_with_advice(script: ModuleType) -> None:
    assert len(script.PHRASES) >= 20
    assert all(len(advice) > 5 for advice in script.PHRASES.values())


@pytest.mark.parametrize("sentence", BAD)
def test_a_bad_sentence_is_found_with_its_line(script: ModuleType, tmp_path: Path, sentence: str) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"# A page\n\n{sentence}\n")
    found = script.findings(str(page))
    assert found
    assert all(line.startswith(f"{page}:3: '") for line in found)


@pytest.mark.parametrize("sentence", GOOD)
def test_a_good_sentence_is_not_found(script: ModuleType, tmp_path: Path, sentence: str) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"{sentence}\n")
    assert script.findings(str(page)) == []


def test_a_marked_quotation_is_left_out(script: ModuleType, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"{BAD[0]} <!-- {script.MARK} -->\n")
    assert script.findings(str(page)) == []


def test_the_exit_code_says_whether_something_was_found(tmp_path: Path) -> None:
    bad, good = tmp_path / "bad.md", tmp_path / "good.md"
    bad.write_text("\n".join(BAD))
    good.write_text("\n".join(GOOD))
    for page, code in ((bad, 1), (good, 0)):
        done = subprocess.run([sys.executable, SCRIPT, page], capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stdout
        assert bool(done.stdout) == bool(code)
