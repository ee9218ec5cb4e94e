"""A typed asyncio client of a liveedge gateway."""

from liveedge_client import models
from liveedge_client.changes import EventChange
from liveedge_client.client import Liveedge
from liveedge_client.errors import (
    ApiError,
    ConflictError,
    ForbiddenError,
    InvalidArgumentError,
    InvalidRequestError,
    LiveedgeError,
    NotFoundError,
    ServerError,
    UnauthorizedError,
    UnavailableError,
    UnreachableError,
)
from liveedge_client.models import Camera, Event, Segment
from liveedge_client.whep import WhepViewer

__all__ = [
    "ApiError",
    "Camera",
    "ConflictError",
    "Event",
    "EventChange",
    "ForbiddenError",
    "InvalidArgumentError",
    "InvalidRequestError",
    "Liveedge",
    "LiveedgeError",
    "NotFoundError",
    "Segment",
    "ServerError",
    "UnauthorizedError",
    "UnavailableError",
    "UnreachableError",
    "WhepViewer",
    "models",
]
