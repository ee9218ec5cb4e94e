"""Evidence over HTTP, and ``liveedge verify``, on recordings of a running gateway."""

import hashlib
from pathlib import Path
from typing import Any

import pytest

from hls.evidence import chain_table
from tests.support.auth_gateway import ADMIN_TOKEN, auth_gateway, bearer
from tests.support.eventually import eventually
from tests.support.recording import index_of, record
from tests.support.sources.encoded import EncoderSettings, encode
from web.cli import main

SEGMENT = "segment_20261122T185002Z"
EVIDENCE = f"/api/cameras/door/segments/{SEGMENT}/evidence"


async def test_recordings_are_signed_served_and_verified(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    index_of(tmp_path / "data", record(tmp_path / "data", encode(EncoderSettings(seconds=6)), segment_s=2)).close()
    async with auth_gateway(tmp_path) as client:
        admin = bearer(ADMIN_TOKEN)

        async def chain() -> list[dict[str, str]]:
            answer = await (await client.get("/api/cameras/door/evidence", headers=admin)).json()
            assert answer["findings"] == []
            found: list[dict[str, str]] = answer["records"]
            return found if len(found) == 3 else []

        await eventually(chain, "all segments are signed")
        sidecar = await (await client.get(EVIDENCE, headers=admin)).read()
        file = await (await client.get(f"/archive/door/{SEGMENT}.mp4", headers=admin)).read()
        digest = hashlib.sha256(file).hexdigest()

        async def verify(body: dict[str, str], token: str = ADMIN_TOKEN) -> dict[str, object]:
            answer = await client.post("/api/evidence/verify", json=body, headers=bearer(token))
            found: dict[str, object] = await answer.json()
            return found

        found = await verify({"sha256": digest})
        assert found["valid"] is True
        records = found["records"]
        assert isinstance(records, list)
        signed = {name: records[0][name] for name in ("statement", "signature")}
        assert (await verify(signed))["valid"] is True
        assert (await verify(signed | {"statement": records[0]["statement"] + " "}))["valid"] is False
        assert (await verify({"sha256": "00" * 32}))["valid"] is False
        assert (await verify({"sha256": digest}, "may-all-of-the-yard"))["records"] == []
        assert (await verify({}))["error"] == "bad_request"
        key = (await (await client.get("/api/evidence/key")).json())["public_keys"][0]["public_key"]
    for name, data in (("a.mp4", file), ("a.json", sidecar), ("key.pem", key.encode())):
        (tmp_path / name).write_bytes(data)
    monkeypatch.chdir(tmp_path)
    assert main(["verify", "a.mp4", "--key", "key.pem"]) == 0
    assert "is as it was recorded" in capsys.readouterr().out
    (tmp_path / "a.mp4").write_bytes(file[:-1] + bytes([file[-1] ^ 1]))
    assert main(["verify", "a.mp4", "--key", "key.pem"]) == 1
    assert "WRONG" in capsys.readouterr().out
    assert main(["verify", "nothing.mp4"]) == 2
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    assert main(["verify"]) == 0
    assert "door: 3 record(s), 0 to 2" in capsys.readouterr().out


async def test_recordings_that_cannot_be_signed_are_a_problem_and_are_signed_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    index_of(tmp_path / "data", record(tmp_path / "data", encode(EncoderSettings(seconds=2)), segment_s=2)).close()
    sign, fails = chain_table.sign_batch, True

    def broken(*arguments: Any) -> int:
        if fails:
            raise RuntimeError("the secret of the index")
        return sign(*arguments)

    monkeypatch.setattr(chain_table, "sign_batch", broken)
    monkeypatch.setattr("hls.evidence.service.UNEXPECTED_S", 0.1)
    async with auth_gateway(tmp_path) as client:

        async def problems() -> dict[str, str]:
            status = await (await client.get("/api/status", headers=bearer(ADMIN_TOKEN))).json()
            return {each["code"]: each["message"] for each in status["problems"]}

        async def is_told() -> bool:
            return "not_signed" in await problems()

        await eventually(is_told, "it is a problem")
        assert "RuntimeError" in (await problems())["not_signed"]
        assert "secret" not in (await problems())["not_signed"]
        fails = False

        async def is_signed() -> bool:
            return (await client.get(EVIDENCE.replace("02Z", "00Z"), headers=bearer(ADMIN_TOKEN))).status == 200

        await eventually(is_signed, "it is signed")
        assert "not_signed" not in await problems()
    assert "recordings are not signed" in caplog.text
