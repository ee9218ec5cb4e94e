"""Where a node of a cluster keeps its recordings in the object storage."""

from web.settings import Settings


def with_own_storage(settings: Settings) -> Settings:
    """In a cluster, ``ARCHIVE_URL`` with a folder of the node's name; the same settings where a gateway is alone.

    Two nodes that capture one camera at once give their files the same names, and each node has an index of its own
    files alone: it would take those of another for its own, and delete them.
    """
    if settings.cluster_url is None or settings.archive_url is None:
        return settings
    return settings.model_copy(
        update={"archive_url": f"{settings.archive_url.rstrip('/')}/{settings.node_name_or_host}"}
    )
