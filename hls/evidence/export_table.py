"""The SQL of exports. Blocking; in the thread of the index."""

from sqlalchemy import delete, insert, select, update

from hls.archive.database import Database
from hls.archive.evidence_schema import export_job
from hls.evidence.export_job import ExportJob, ExportRequest, ExportState


def load(database: Database) -> list[ExportJob]:
    """All exports, the oldest first."""
    with database.transaction() as connection:
        rows = connection.execute(select(export_job).order_by(export_job.c.created_90k, export_job.c.id)).all()
    return [
        ExportJob(
            row.id,
            row.created_90k,
            row.owner,
            ExportRequest.of(row.request),
            ExportState(row.state),
            row.expires_90k,
            row.result,
        )
        for row in rows
    ]


def add(database: Database, job: ExportJob) -> None:
    """Keep a new export."""
    values = {
        "id": job.id,
        "created_90k": job.created_90k,
        "owner": job.owner,
        "request": job.request.as_json(),
    }
    with database.transaction(is_synced=True) as connection:
        connection.execute(insert(export_job).values(values | _changing(job)))


def save(database: Database, job: ExportJob) -> None:
    """Keep the state of an export."""
    with database.transaction(is_synced=True) as connection:
        connection.execute(update(export_job).where(export_job.c.id == job.id).values(_changing(job)))


def remove(database: Database, export_id: str) -> None:
    """Forget an export."""
    with database.transaction() as connection:
        connection.execute(delete(export_job).where(export_job.c.id == export_id))


def _changing(job: ExportJob) -> dict[str, object]:
    return {"state": job.state.value, "expires_90k": job.expires_90k, "result": job.result}
