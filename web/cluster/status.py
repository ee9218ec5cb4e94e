"""What ``/api/status`` and ``/metrics`` show of a cluster."""

from pydantic import BaseModel, Field

from gateway.camera_settings import RenditionName


class NodeStatus(BaseModel):
    """A node that is alive, as this one knows it."""

    name: str
    url: str | None = Field(description="where clients reach it; null: it does not tell")
    sites: list[str]
    draining: bool
    cameras: int = Field(description="how many it owns")


class AbsentNodeStatus(BaseModel):
    """A node that is not alive."""

    name: str
    since: str = Field(description="when it was alive last, to ten seconds")
    left: bool = Field(description="whether it ended in order")


class SharedRecording(BaseModel):
    """A recorded file of a node."""

    node: str
    url: str | None = Field(description="where clients reach the node; null: it is not alive, or does not tell")
    segment: str = Field(description="the archive segment at that node")
    rendition: RenditionName
    start: str
    end: str
    size: int = Field(description="in bytes")
    epoch: int = Field(description="of the node's ownership; 0: it is not known")
    counts_from: str | None = Field(
        description="the file counts for this span; null: it is a spare, recorded by a node that was not the owner"
    )
    counts_to: str | None


class SharedRecordings(BaseModel):
    """Recorded files of all nodes, oldest first. No two of a stream count for the same moment."""

    recordings: list[SharedRecording]


class ClusterStatus(BaseModel):
    """The cluster, as this node knows it."""

    node: str = Field(description="the name of this node")
    ready: bool = Field(description="whether it takes new viewers: it does not drain")
    provisional: bool = Field(
        description="whether it has not reached the database for so long that other nodes may have taken its cameras,"
        " which it goes on capturing"
    )
    error: str | None = Field(description="why the database does not answer; null: it does")
    fault: str | None = Field(description="what failed inside this node in the last minute; null: nothing")
    owned: dict[str, int] = Field(description="the cameras that this node owns, with the epoch of each")
    owners: dict[str, str | None] = Field(description="the name of each camera's owner; null: nobody owns it")
    nodes: list[NodeStatus]
    absent: list[AbsentNodeStatus] = Field(
        default=[], description="nodes that are not alive; they are forgotten after 30 days"
    )
