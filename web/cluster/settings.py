"""The settings of a node of a cluster."""

import os
import socket
from enum import StrEnum
from pathlib import Path
from typing import Annotated, ClassVar, Self

from pydantic import BeforeValidator, model_validator

from gateway.config.field import Applies, CommaList, OptionalSecret, SettingsGroup, Url, setting
from gateway.config.messages import contradiction


def _cores(value: object) -> object:
    """``auto`` is the number of cores that this process may use."""
    if not isinstance(value, str):
        return value
    if value.strip().isdecimal():
        return int(value)
    if value.strip().lower() != "auto":
        raise ValueError("must be a whole number of processes, or auto")
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class ViewersAt(StrEnum):
    """Where a WebRTC viewer of another node's camera gets it."""

    RELAY = "relay"
    REDIRECT = "redirect"


class ClusterSettings(SettingsGroup):
    """Several gateways that share their cameras."""

    title: ClassVar[str] = "Cluster"

    cluster_url: OptionalSecret = setting(
        None,
        unset="this gateway is alone",
        example="postgresql+psycopg://liveedge:password@192.0.2.20/liveedge",
        help="SQLAlchemy URL of the PostgreSQL database that the nodes of a [cluster](cluster.md) share. Their cameras"
        " are in this database, and each is captured by one node",
        applies=Applies.RESTART,
    )
    node_name: str | None = setting(
        None,
        unset="the name of the host",
        example="recorder-1",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$",
        help="name of this node, another for each node and the same after a restart",
        applies=Applies.RESTART,
    )
    node_url: Url | None = setting(
        None,
        unset="other nodes cannot reach this one",
        example="https://recorder-1.example",
        pattern=r"^https?://[^\s/?#@]+/?$",
        help="where clients and the other nodes reach this node. Without it, the others cannot show the cameras that"
        " are captured here",
        applies=Applies.RESTART,
    )
    node_sites: CommaList = setting(
        [],
        example=["warehouse"],
        help="sites whose cameras this node can reach. A camera with `sites` is captured by a node of one of them only",
        applies=Applies.RESTART,
    )
    node_tls_ca_file: Path | None = setting(
        None,
        unset="the system's",
        example="/etc/liveedge/nodes-ca.pem",
        help="certificates (PEM) that vouch for the other nodes, where their `NODE_URL` begins with `https:`",
        applies=Applies.RESTART,
    )
    cluster_viewers: ViewersAt = setting(
        ViewersAt.RELAY,
        help="where a WebRTC viewer gets a camera that another node captures. `relay`: from the node that it asks."
        " `redirect`: from the other node, at its `NODE_URL`, which clients must reach, see"
        " [redirected viewers](cluster.md#redirected-viewers)",
        applies=Applies.RESTART,
    )
    node_weight: float = setting(
        1.0,
        gt=0,
        le=1000,
        help="this node's share of the cameras, compared with that of the other nodes",
        applies=Applies.RESTART,
    )

    workers: Annotated[int, BeforeValidator(_cores)] = setting(
        1,
        ge=1,
        le=64,
        unit="processes",
        help="processes that [share](cluster.md#use-all-cores) the cameras and viewers of this gateway; `auto` starts"
        " one for each core. Each has a WebRTC port of its own, counted up from `WEBRTC_UDP_PORT`",
        applies=Applies.RESTART,
    )

    @property
    def node_name_or_host(self) -> str:
        """``node_name``, or the name of the host."""
        return self.node_name or socket.gethostname()[:64] or "node"

    @model_validator(mode="after")
    def _check_node(self) -> Self:
        given = [name for name in ("node_name", "node_url", "node_sites") if getattr(self, name)]
        if self.cluster_url is None and given:
            raise contradiction(
                f"{given[0].upper()} describes a node of a cluster, and CLUSTER_URL is not set: set it, or remove"
                f" {given[0].upper()}",
                given[0],
            )
        if self.workers > 1 and self.cluster_url is not None:
            raise contradiction(
                "WORKERS shares the cores of one machine, and CLUSTER_URL several machines: set one of them. For more"
                " than one node on a machine, run liveedge several times, each with a NODE_NAME, NODE_URL, DATA_DIR and"
                " ports of its own, see docs/cluster.md#several-nodes-on-one-machine",
                "workers",
                "cluster_url",
            )
        return self
