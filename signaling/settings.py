"""The settings of this package: the connection to the event service."""

from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field

from gateway.capture_settings import RetrySettings
from gateway.config.field import Applies, OptionalSecret, setting


class MessagingSettings(RetrySettings):
    """The Event Management Service (EMS), or another adapter for messages."""

    title: ClassVar[str] = "Event service"

    socketio_server_url: OptionalSecret = setting(
        None,
        example="https://ems.example",
        help="URL of the EMS; `?type=service` is added. With an EMS cameras start on its command, unless `START` says"
        " otherwise",
        applies=Applies.RESTART,
    )
    socketio_auth_token: OptionalSecret = setting(
        None,
        example="secret",
        help="token for the EMS, sent as Socket.IO `auth`",
        applies=Applies.RESTART,
    )
    socketio_namespace: Annotated[str, Field(pattern=r"^/[^,?\s]*$", max_length=128)] = setting(
        "/",
        example="/services",
        help="namespace of Socket.IO that the gateway joins on the EMS",
        applies=Applies.RESTART,
    )
    socketio_ca_file: Path | None = setting(
        None,
        example="/etc/liveedge/ems-ca.pem",
        help="certificates (PEM) of a private authority that has signed the EMS's certificate, beside those of the"
        " system",
        applies=Applies.RESTART,
    )
    ems_request_keep: Annotated[float, Field(ge=0)] = setting(
        86_400,
        unit="s",
        help="captures that the EMS has started are started again after a restart of the gateway, if it was off for no"
        " longer than this; 0: never",
        applies=Applies.RESTART,
    )
    ems_heartbeat: Annotated[float, Field(ge=0, le=3600)] = setting(
        30,
        unit="s",
        help="how often the EMS gets `service_heartbeat`: the gateway runs, and how its cameras are; 0: never",
        applies=Applies.RESTART,
    )
    messaging: str = setting(
        "socketio",
        help="`socketio`, `none`, or your own adapter as `package.module:Class`",
        applies=Applies.RESTART,
    )
