"""Answers of all workers as one.

Rules:

1. All workers that are alive are asked at once, this one too, each with the credential of the request. One that does
   not answer within :data:`ANSWER_S` is left out; ``/api/status`` has a problem then.
2. A camera is as the worker that captures it says. Counts of viewers and of clients are sums.
3. A list of exports names the workers that are down: they may have others.
4. Metrics have a label ``worker``, so that a counter is always of one process and never goes back while that runs.
"""

import asyncio
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aiohttp import hdrs, web

from gateway.cluster.model import Node
from gateway.errors import NodeAwayError
from web.cluster.forwarding import Forwarding, fields_of
from web.cluster.nodes import away_header
from web.cluster.relay_sender import KIND as RELAY
from web.polled_answer import polled_answer
from web.workers.worker import node_name, worker_number

ANSWER_S = 5.0

ANSWER_MAX_BYTES = 64 * 1024 * 1024

EXPORTS = "/api/exports"

POLLED = frozenset({"/api/status", "/api/cameras"})

Parts = Mapping[int, Any]
"""The answers by the number of their worker."""

NOT_ASKED = ("if-match", "if-none-match", "if-modified-since", "if-range", "range", "accept-encoding")


@dataclass(frozen=True, slots=True)
class Workers:
    """How many there should be, and the number of the one that captures a camera; ``None``: none does."""

    count: int
    owner_of: Callable[[str], int | None]

    def missing(self, given: Collection[int]) -> list[int]:
        """The numbers of those that have not answered."""
        return [number for number in range(1, self.count + 1) if number not in given]


async def merged(
    request: web.Request, forwarding: Forwarding, nodes: Sequence[Node], workers: Workers
) -> web.StreamResponse:
    """The answer of all workers to a request for something of :data:`MERGED`."""
    found = await asyncio.gather(*(_answer(request, forwarding, node) for node in nodes))
    answers = {worker_number(node.name): each for node, each in zip(nodes, found, strict=True)}
    given = {number: each for number, each in answers.items() if each is not None}
    if not given:
        raise NodeAwayError("worker", "no worker answers at present")
    for status, body, headers in given.values():
        if status != web.HTTPOk.status_code:
            return web.Response(status=status, body=body, headers=headers)
    resource = request.match_info.route.resource
    path = resource.canonical if resource is not None else ""
    _, _, headers = next(iter(given.values()))
    if path == EXPORTS:
        headers = {**headers, **away_header([node_name(each) for each in workers.missing(given)])}
    body = MERGED[path](request, {number: each[1] for number, each in given.items()}, workers)
    if path in POLLED:
        return polled_answer(request, body, headers)
    return web.Response(body=body, headers=headers)


async def _answer(
    request: web.Request, forwarding: Forwarding, node: Node
) -> tuple[int, bytes, Mapping[str, str]] | None:
    fields = {name: value for name, value in fields_of(request).items() if name.lower() not in NOT_ASKED}
    try:
        async with (
            asyncio.timeout(ANSWER_S),
            forwarding.ask(node, hdrs.METH_GET, request.raw_path, fields) as answer,
        ):
            kept = ("Content-Type", "Cache-Control", "WWW-Authenticate", "Retry-After")
            headers = {name: answer.headers[name] for name in kept if name in answer.headers}
            return answer.status, await answer.read(), headers
    except (NodeAwayError, TimeoutError, OSError):
        return None


def _json(merge: Callable[[web.Request, Parts, Workers], object]) -> "Merge":
    def of_bytes(request: web.Request, parts: Mapping[int, bytes], workers: Workers) -> bytes:
        answer = merge(request, {number: json.loads(part) for number, part in parts.items()}, workers)
        return json.dumps(answer, separators=(",", ":")).encode()

    return of_bytes


# --- cameras


def _cameras(parts: Parts, workers: Workers) -> list[dict[str, Any]]:
    """Rule 2."""
    by_id: dict[str, dict[int, dict[str, Any]]] = {}
    for number, part in parts.items():
        for camera in part["cameras"]:
            by_id.setdefault(camera["camera_id"], {})[number] = camera
    return [_one_camera(each, workers.owner_of(camera_id)) for camera_id, each in by_id.items()]


def _one_camera(cameras: Mapping[int, dict[str, Any]], owner: int | None) -> dict[str, Any]:
    viewers = _sum([camera["viewers"] for camera in cameras.values()])
    viewers.pop(RELAY, None)
    best = cameras.get(owner or 0) or next(iter(cameras.values()))
    return {**best, "viewers": viewers}


def _camera_list(_: web.Request, parts: Parts, workers: Workers) -> object:
    return {"cameras": _cameras(parts, workers)}


def _camera(_: web.Request, parts: Parts, workers: Workers) -> object:
    return _one_camera(parts, workers.owner_of(next(iter(parts.values()))["camera_id"]))


def _status(_: web.Request, parts: Parts, workers: Workers) -> object:
    first = next(iter(parts.values()))
    problems: list[Any] = []
    for part in parts.values():
        problems += [problem for problem in part["problems"] if problem not in problems]
    is_whole = first["cluster"] is not None
    away = workers.missing(parts)
    if away and is_whole:
        names = ", ".join(map(str, away))
        message = f"worker {names} of {workers.count} does not run or does not answer: the others have its cameras"
        problems.append({"component": "workers", "code": "worker_away", "camera_id": None, "message": message})
    archive = dict(first["archive"])
    for part in [*parts.values()][1:]:
        for name, value in part["archive"].items():
            archive[name] = _together(archive.get(name), value)
    if archive.get("storage"):
        archive["storage"] = _storage([part["archive"]["storage"] for part in parts.values()])
    messaging = max((part["messaging"] for part in parts.values()), key=lambda each: bool(each.get("connected")))
    return {
        **first,
        "status": "degraded" if problems else "ok",
        "problems": problems,
        "cameras": _cameras(parts, workers),
        "messaging": messaging,
        "browsers": _sum([part["browsers"] for part in parts.values()]),
        "archive": archive,
        "webrtc": {**first["webrtc"], "viewers": sum(part["webrtc"]["viewers"] for part in parts.values())},
    }


def _together(one: Any, other: Any) -> Any:
    if isinstance(one, dict) and isinstance(other, dict):
        numbers = all(isinstance(value, int) for value in (*one.values(), *other.values()))
        return _sum([one, other]) if numbers else {**other, **one}
    return other if one is None else one


def _storage(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The object storage: counts are sums, and what one worker cannot do is said of all."""
    counts = [{name: value for name, value in part.items() if type(value) is int} for part in parts]
    return {
        **parts[0],
        **_sum(counts),
        "is_reachable": all(part["is_reachable"] for part in parts),
        "error": next((part["error"] for part in parts if part["error"] is not None), None),
    }


def _sum(counts: Sequence[Mapping[str, int]]) -> dict[str, int]:
    names = dict.fromkeys(name for each in counts for name in each)
    return {name: sum(each.get(name, 0) for each in counts) for name in names}


# --- exports


def _exports(_: web.Request, parts: Parts, __: Workers) -> object:
    return {"exports": [export for part in parts.values() for export in part["exports"]]}


# --- metrics


def _metrics(_: web.Request, parts: Mapping[int, bytes], workers: Workers) -> bytes:
    """Rule 4."""
    heads: dict[str, list[str]] = {}
    samples: dict[str, list[str]] = {}
    for number, part in parts.items():
        family, is_first = "", False
        for line in part.decode().splitlines():
            if line.startswith("# HELP "):
                family = line.split(" ", 3)[2]
                is_first = family not in heads
                heads.setdefault(family, [])
            if line.startswith("#"):
                if is_first:
                    heads[family].append(line)
            elif line:
                samples.setdefault(family, []).append(_labelled(line, number))
    lines = [line for family, head in heads.items() for line in (*head, *samples.get(family, ()))]
    lines += [
        "# HELP liveedge_worker_up Whether a worker answers",
        "# TYPE liveedge_worker_up gauge",
        *(
            f'liveedge_worker_up{{worker="{number}"}} {float(number in parts)}'
            for number in range(1, workers.count + 1)
        ),
    ]
    return "\n".join(lines).encode() + b"\n"


def _labelled(line: str, number: int) -> str:
    name, has_labels, rest = line.partition("{")
    if has_labels and " " not in name:
        return f'{name}{{worker="{number}",{rest}'
    name, _, value = line.partition(" ")
    return f'{name}{{worker="{number}"}} {value}'


Merge = Callable[[web.Request, Mapping[int, bytes], Workers], bytes]

MERGED: Mapping[str, Merge] = {
    "/api/cameras": _json(_camera_list),
    "/api/cameras/{camera}": _json(_camera),
    "/api/status": _json(_status),
    EXPORTS: _json(_exports),
    "/metrics": _metrics,
}
"""What is the answer of all workers, by the path of the route."""
