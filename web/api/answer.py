"""``json_answer``: makes every JSON answer of the HTTP API, from the model that documents it."""

from collections.abc import Collection, Mapping

from aiohttp import web
from pydantic import BaseModel

AWAY = "Liveedge-Away"
"""The field of an answer that names the nodes of a cluster that are away and may have more."""


def away_header(names: Collection[str]) -> dict[str, str]:
    """The field :data:`AWAY`, if there are any."""
    return {AWAY: ", ".join(sorted(names))} if names else {}


def json_answer(model: BaseModel, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """``model`` as JSON."""
    return web.Response(
        body=model.model_dump_json().encode(), status=status, headers=headers, content_type="application/json"
    )
