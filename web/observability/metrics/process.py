"""Metrics of the process: threads, tasks, the event loop, and problems."""

import asyncio
import threading
from collections.abc import Iterable
from typing import get_args

from prometheus_client.core import Metric

from web.gateway import Gateway
from web.observability.event_loop_lag import EventLoopLag
from web.observability.health import Component, problems
from web.observability.metrics.families import gauge, single


def process_metrics(gateway: Gateway, lag: EventLoopLag) -> Iterable[Metric]:
    """Families of the process as a whole. Each call resets the worst lag."""
    components = [problem.component for problem in problems(gateway)]
    yield gauge(
        "problems",
        "Problems now, as in GET /api/status",
        ("component",),
        [((component,), components.count(component)) for component in get_args(Component)],
    )
    yield gauge("threads", "Threads of the process", (), single(threading.active_count()))
    yield gauge("tasks", "Tasks of the event loop", (), single(len(asyncio.all_tasks())))
    yield gauge(
        "event_loop_lag_seconds",
        "Worst lag of the event loop since the last scrape",
        (),
        single(lag.take_worst_s()),
    )
