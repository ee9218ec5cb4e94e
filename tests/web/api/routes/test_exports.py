"""Exports of real recordings: made, downloaded, read by ffprobe, and verified by ``liveedge verify``."""

import asyncio
import io
import json
import zipfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from gateway.clock import CLOCK_RATE
from gateway.event import Event
from hls.evidence.burn_in import text_at
from hls.evidence.export_build import ExportBuild
from hls.evidence.verify import verify_export
from tests.support.auth_gateway import ADMIN_TOKEN, Client, auth_gateway, bearer
from tests.support.eventually import eventually
from tests.support.ffprobe import ffprobe
from tests.support.recording import index_of, record
from tests.support.sources.encoded import START_90K, EncoderSettings, encode
from web.cli import main
from web.gateway import GATEWAY

SPAN = {"start": "2026-11-22T18:50:01Z", "end": "2026-11-22T18:50:21Z"}
ADMIN = bearer(ADMIN_TOKEN)

NAME = "정문 درب\u200cپشتی 🚪"


def cameras(**names: str) -> dict[str, Any]:
    """Settings of cameras with these names, which are not captured."""
    return {name: {"url": "rtsp://127.0.0.1:1/", "start": "on-demand", "name": names[name]} for name in names}


def record_cameras(data_dir: Path) -> None:
    """The door: 6 s, and after a gap until 18:50:20 2 s more. The yard: 4 s."""
    recordings = []
    for camera_id, seconds in (("door", 6), ("yard", 4)):
        recordings += record(data_dir, encode(EncoderSettings(seconds=seconds)), camera_id, segment_s=2)
    later = encode(EncoderSettings(seconds=2), START_90K + 20 * CLOCK_RATE, run=2)
    recordings += record(data_dir, later, "door", segment_s=2)
    index_of(data_dir, recordings).close()


async def post(client: Client, token: str = ADMIN_TOKEN, **body: object) -> tuple[int, dict[str, Any]]:
    async with client.post("/api/exports", json={**SPAN, **body}, headers=bearer(token)) as answer:
        return answer.status, await answer.json()


async def get(client: Client, path: str, token: str = ADMIN_TOKEN) -> dict[str, Any]:
    async with client.get(path, headers=bearer(token)) as answer:
        found: dict[str, Any] = await answer.json()
        return found


async def over(client: Client, export_id: str) -> dict[str, Any]:
    found = await get(client, f"/api/exports/{export_id}")
    return found if found["state"] in ("done", "failed") else {}


async def all_are_signed(client: Client) -> bool:
    chains = [await get(client, f"/api/cameras/{camera}/evidence") for camera in ("door", "yard")]
    return sum(len(chain["records"]) for chain in chains) == 6


async def exported(client: Client, **body: object) -> dict[str, Any]:
    await eventually(partial(all_are_signed, client), "all segments are signed")
    status, job = await post(client, ADMIN_TOKEN, **body)
    assert (status, job["state"]) == (201, "waiting"), job
    done: dict[str, Any] = await eventually(partial(over, client, job["id"]), "the export is done")
    assert done["state"] == "done", done
    return done


def packed_again(whole: bytes, path: Path, before: Mapping[str, bytes] = MappingProxyType({})) -> None:
    """A ZIP as it is made of the files of another one: deflated, and with folders. ``before`` is put before files."""
    with zipfile.ZipFile(io.BytesIO(whole)) as archive, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as again:
        again.mkdir("door")
        for name in archive.namelist():
            again.writestr(name, before.get(name, b"") + archive.read(name))


@pytest.mark.integration
async def test_several_cameras_become_one_zip_that_verifies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    record_cameras(tmp_path / "data")
    async with auth_gateway(tmp_path, cameras=cameras(door=NAME)) as client:
        at = START_90K + 3 * CLOCK_RATE
        await client.app[GATEWAY].events.create(
            Event("01234567-89ab-4def-8123-456789abcdef", "door", at, at, "person", "test")
        )
        done = await exported(client, cameras=["door", "yard"])
        assert (done["cameras"], done["progress"], done["by"]) == (["door", "yard"], 1.0, "admin")
        async with client.get(done["url"], headers=ADMIN) as answer:
            etag, whole = answer.headers["ETag"], await answer.read()
        assert len(whole) == done["size"]
        cut = {"Range": f"bytes={len(whole) // 2}-", "If-Range": etag}
        async with client.get(done["url"], headers=ADMIN | cut) as answer:
            assert answer.status == 206
            assert await answer.read() == whole[len(whole) // 2 :]
        key = (await get(client, "/api/evidence/key"))["public_keys"][0]["public_key"]
        # A link that needs no token, and opens this alone.
        async with client.post("/api/sign", json={"path": done["url"]}, headers=ADMIN) as answer:
            link = (await answer.json())["url"]
        async with client.get(link) as answer:
            assert (answer.status, await answer.read()) == (200, whole)
        async with client.get(link.replace("/export.zip", "")) as answer:
            assert answer.status == 401
    monkeypatch.chdir(tmp_path)
    Path("e.zip").write_bytes(whole)
    Path("key.pem").write_text(key)
    with zipfile.ZipFile("e.zip") as archive:
        assert archive.testzip() is None
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
        manifest = json.loads(archive.read("manifest.json"))
        [door, yard] = manifest["cameras"]
        [clip] = door["clips"]
        archive.extract(clip["file"])
        read_me = archive.read("README.txt").decode()
    assert (door["camera"], door["name"], yard["camera"], yard["name"]) == ("door", NAME, "yard", None)
    assert f"\ndoor\n  name: {NAME}\n  {clip['file']}, {clip['start']} to {clip['end']}\n" in read_me
    assert f"\nyard\n  {yard['clips'][0]['file']}, " in read_me
    assert clip["file"] == "door/door_2026-11-22T185001_000Z.mp4"
    assert (clip["start"], clip["end"]) == ("2026-11-22T18:50:01.000Z", "2026-11-22T18:50:21.000Z")
    assert clip["spans"][-1] == {"offset_s": 5.0, "start": "2026-11-22T18:50:20.000Z"}
    assert [each["title"] for each in clip["chapters"]] == ["person"]
    assert {each["state"] for each in door["sources"] + yard["sources"]} == {"intact"}
    found = ffprobe(Path(clip["file"]), "-show_format", "-show_chapters")
    assert found["format"]["tags"]["creation_time"] == "2026-11-22T18:50:01.000000Z"
    assert float(found["format"]["duration"]) == pytest.approx(6.0, abs=0.05)
    assert [(each["start_time"], each["tags"]["title"]) for each in found["chapters"]] == [("2.000000", "person")]

    assert main(["verify", "e.zip", "--key", "key.pem"]) == 0
    said = capsys.readouterr().out
    assert "2 of 2 clip(s) are as they were exported" in said
    assert f"\ncamera door had the name: {NAME}\n" in said
    assert "nothing is recorded between 2026-11-22T18:50:06.000Z" in said
    at_byte = whole.index(b"mdat") + 2000
    Path("e.zip").write_bytes(whole[:at_byte] + bytes([whole[at_byte] ^ 1]) + whole[at_byte + 1 :])
    assert main(["verify", "e.zip", "--key", "key.pem"]) == 1
    assert "door/door_2026-11-22T185001_000Z.mp4 was changed" in capsys.readouterr().out
    at_byte = whole.index(b'"2026-11-22T18:50:01.000Z"') + 3
    Path("e.zip").write_bytes(whole[:at_byte] + b"5" + whole[at_byte + 1 :])
    assert main(["verify", "e.zip"]) == 1
    packed_again(whole, Path("again.zip"))
    assert main(["verify", "again.zip", "--key", "key.pem"]) == 0
    capsys.readouterr()
    for name, why in (("README.txt", "README.txt was changed"), ("public-key.pem", "has more than the key")):
        packed_again(whole, Path("again.zip"), {name: b"Signed by the police."})
        assert main(["verify", "again.zip", "--key", "key.pem"]) == 1
        assert why in capsys.readouterr().out
    for name, data in (("cut.zip", whole[: len(whole) // 2]), ("none.zip", b"PK nothing")):
        Path(name).write_bytes(data)
        assert main(["verify", name]) == 1


@pytest.mark.integration
async def test_the_time_is_burned_in_and_a_changed_recording_is_named(tmp_path: Path) -> None:
    record_cameras(tmp_path / "data")
    async with auth_gateway(tmp_path) as client:
        await eventually(partial(all_are_signed, client), "all segments are signed")
        changed = tmp_path / "data/yard/2026-11-22/segment_20261122T185002Z.mp4"
        data, at = changed.read_bytes(), int(ffprobe(changed, "-show_packets")["packets"][5]["pos"])
        changed.write_bytes(data[:at] + bytes([255]) * 4 + data[at + 4 :])  # the length of a NAL unit
        done = await exported(client, cameras=["yard"], burn_in_time=True)
        async with client.get(done["url"], headers=ADMIN) as answer:
            (tmp_path / "e.zip").write_bytes(await answer.read())
    with zipfile.ZipFile(tmp_path / "e.zip") as archive:
        [yard] = json.loads(archive.read("manifest.json"))["cameras"]
        archive.extract(yard["clips"][0]["file"], tmp_path)
    assert yard["clips"][0]["burnt_in_time"] is True
    assert yard["clips"][0]["pictures_left_out"] == 1
    assert any("lacks 1 picture(s)" in line for line in verify_export(tmp_path / "e.zip", None).lines)
    assert [each["state"] for each in yard["sources"]] == ["intact", "changed"]
    found = ffprobe(tmp_path / yard["clips"][0]["file"], "-show_format", "-show_streams")
    assert found["format"]["tags"]["creation_time"] == "2026-11-22T18:50:01.000000Z"
    assert (found["streams"][0]["codec_name"], found["streams"][0]["nb_frames"]) == ("h264", "29")
    assert not list((tmp_path / "data/.exports").glob("*.mp4"))


@pytest.mark.integration
@pytest.mark.parametrize("burn_in_time", [False, True])
async def test_a_clip_has_one_codec_and_one_size_and_no_frame_is_lost(tmp_path: Path, burn_in_time: bool) -> None:
    recordings = []
    for number, what in enumerate(
        (
            EncoderSettings(seconds=2),
            EncoderSettings(seconds=2, hevc=True),
            EncoderSettings(seconds=2, width=320, height=240),
        )
    ):
        at_90k = START_90K + 2 * number * CLOCK_RATE
        recordings += record(tmp_path / "data", encode(what, at_90k, run=number), "door", segment_s=600)
    index_of(tmp_path / "data", recordings).close()
    async with auth_gateway(tmp_path) as client:
        _, job = await post(client, cameras=["door"], burn_in_time=burn_in_time)
        done: dict[str, Any] = await eventually(partial(over, client, job["id"]), "the export is done")
        async with client.get(done["url"], headers=ADMIN) as answer:
            (tmp_path / "e.zip").write_bytes(await answer.read())
    with zipfile.ZipFile(tmp_path / "e.zip") as archive:
        [door] = json.loads(archive.read("manifest.json"))["cameras"]
        archive.extractall(tmp_path)
    found = [ffprobe(tmp_path / clip["file"], "-show_streams", "-count_frames")["streams"][0] for clip in door["clips"]]
    assert [(each["codec_name"], each["width"], each["nb_read_frames"]) for each in found] == [
        ("h264", 160, "10"),
        ("h264" if burn_in_time else "hevc", 160, "20"),
        ("h264", 320, "20"),
    ]
    assert [clip["pictures_left_out"] for clip in door["clips"]] == [0, 0, 0]
    starts = [clip["start"] for clip in door["clips"]]
    assert starts == [f"2026-11-22T18:50:0{second}.000Z" for second in (1, 2, 4)]


def test_the_time_in_the_picture_is_that_of_the_recording_across_a_gap() -> None:
    spans = [(0, START_90K), (5 * CLOCK_RATE, START_90K + 20 * CLOCK_RATE)]
    assert text_at(2 * CLOCK_RATE, spans, "door") == "door 2026-11-22 18:50:02.000 UTC"
    assert text_at(5 * CLOCK_RATE + 9000, spans, "door") == "door 2026-11-22 18:50:20.100 UTC"


async def test_what_cannot_be_exported_is_refused_with_a_reason(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    record_cameras(tmp_path / "data")
    async with auth_gateway(tmp_path, export_max_bytes=1 << 20) as client:
        for body, status, code in (
            ({"cameras": ["door"], "start": "2026-11-22T10:00:00Z", "end": "2026-11-22T11:00:00Z"}, 404, "not_found"),
            ({"cameras": ["ghost"]}, 404, "not_found"),
            ({"cameras": []}, 400, "bad_request"),
            ({"cameras": ["door", "door"]}, 400, "bad_request"),
            ({"cameras": ["door"], "end": "2026-11-22T10:00:00Z"}, 400, "bad_request"),
            ({"cameras": ["door"], "start": "2026-11-20T10:00:00Z"}, 400, "bad_request"),
            ({"cameras": ["door"], "start": "yesterday"}, 400, "bad_request"),
            ({"cameras": ["door"]}, 507, "no_space"),
        ):
            answered, error = await post(client, **body)
            assert (answered, error["error"]) == (status, code), (body, error)
        assert [record for record in caplog.records if record.exc_info] == [], "none of them is a fault of the gateway"
        assert (await post(client, "may-all-of-the-yard", cameras=["door"]))[0] == 403
        assert (await get(client, "/api/exports"))["exports"] == []
        assert (await get(client, "/api/exports/nothing"))["error"] == "not_found"


async def test_only_who_may_see_all_cameras_sees_an_export(tmp_path: Path) -> None:
    record_cameras(tmp_path / "data")
    async with auth_gateway(tmp_path) as client:
        both = await exported(client, cameras=["door", "yard"])
        door = await exported(client, cameras=["door"])
        seen = (await get(client, "/api/exports", "may-rewind-the-door"))["exports"]
        assert [each["id"] for each in seen] == [door["id"]]
        for method, path in (("GET", ""), ("DELETE", ""), ("GET", "/export.zip")):
            async with client.request(
                method, f"/api/exports/{both['id']}{path}", headers=bearer("may-all-of-the-yard")
            ) as answer:
                assert answer.status == 404
        # It may be seen by this token, and was made by another one.
        async with client.delete(f"/api/exports/{door['id']}", headers=bearer("may-rewind-the-door")) as answer:
            assert answer.status == 403
        for job in (both, door):
            async with client.delete(f"/api/exports/{job['id']}", headers=ADMIN) as answer:
                assert answer.status == 204
        assert not list((tmp_path / "data/.exports").iterdir())


async def test_exports_survive_a_restart_and_expire(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record_cameras(tmp_path / "data")
    begun, build = asyncio.Event(), ExportBuild.build

    async def never(self: ExportBuild, path: Path) -> dict[str, Any]:
        begun.set()
        await asyncio.Event().wait()
        return {}

    async with auth_gateway(tmp_path, cameras=cameras(door=NAME)) as client:
        done = await exported(client, cameras=["yard"])
        monkeypatch.setattr(ExportBuild, "build", never)
        _, broken_off = await post(client, cameras=["door"])
        await begun.wait()
    monkeypatch.setattr(ExportBuild, "build", build)
    (tmp_path / "data/.exports/left.part").write_bytes(b"of a crash")
    async with auth_gateway(tmp_path, cameras=cameras(door="renamed"), export_max_age=0.001) as client:
        again = await eventually(partial(over, client, broken_off["id"]), "the export that was broken off is done")
        async with client.get(again["url"], headers=ADMIN) as answer:
            with zipfile.ZipFile(io.BytesIO(await answer.read())) as archive:
                assert [each["name"] for each in json.loads(archive.read("manifest.json"))["cameras"]] == [NAME]
        async with client.get(done["url"], headers=ADMIN) as answer:
            assert answer.status == 200
            assert len(await answer.read()) == done["size"]
        gateway = client.app[GATEWAY]
        await gateway.exports.expire()
        assert len(gateway.exports.jobs()) == 2, "nothing is deleted while the clock cannot be trusted"
        gateway.archive.confirm_clock()
        await gateway.exports.expire()
        assert [each["id"] for each in (await get(client, "/api/exports"))["exports"]] == [done["id"]]
        assert sorted(path.name for path in (tmp_path / "data/.exports").iterdir()) == [f"{done['id']}.zip"]
