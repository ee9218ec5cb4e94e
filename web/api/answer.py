"""``json_answer``: makes every JSON answer of the HTTP API, from the model that documents it."""

from collections.abc import Mapping

from aiohttp import web
from pydantic import BaseModel


def json_answer(model: BaseModel, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """``model`` as JSON."""
    return web.Response(
        body=model.model_dump_json().encode(), status=status, headers=headers, content_type="application/json"
    )
