"""The ``liveedge`` command.

    liveedge [serve]         run the gateway
    liveedge probe URL       say what a camera sends, or why it does not
    liveedge check           prove the index against the disk; --repair mends what differs

Exit codes: 0 done, 1 the thing asked about is not well, 2 cannot start: one sentence on standard error says what to do.
"""

import argparse
import asyncio
import logging
import os
import sys
import threading
import time
from collections.abc import Sequence

from gateway.config.loader import unknown_names
from gateway.errors import LiveedgeError, redact
from web.heap import limit_arenas
from web.observability.logs import set_up_logging
from web.settings import PREFIXES, Settings, load_settings

log = logging.getLogger("liveedge")

THREADS_END_S = 0.5
"""Whatever thread is well has ended by then: all it had to do was done before."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    options = _parser().parse_args(arguments)
    try:
        settings = load_settings()
        set_up_logging(settings)
        for warning in unknown_names(Settings, PREFIXES):
            log.warning("%s", warning)
        return int(options.run(settings, options))
    except LiveedgeError as error:
        print(f"liveedge: {redact(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="liveedge", description="RTSP cameras at their live edge.")
    parser.set_defaults(run=_serve)
    commands = parser.add_subparsers(metavar="COMMAND")
    serve = commands.add_parser("serve", help="run the gateway (the default)")
    serve.set_defaults(run=_serve)
    probe = commands.add_parser("probe", help="say what a camera sends, or why it does not")
    probe.add_argument("url", metavar="URL", help="rtsp://user:password@host/path")
    probe.set_defaults(run=_probe)
    check = commands.add_parser("check", help="prove the index of recordings against the disk")
    check.add_argument("--repair", action="store_true", help="mend what differs")
    check.set_defaults(run=_check)
    return parser


def _serve(settings: Settings, _options: argparse.Namespace) -> int:
    from web.app import serve

    limit_arenas()
    asyncio.run(serve(settings))
    _leave_hanging_threads()
    return 0


def _leave_hanging_threads() -> None:
    """End the process although threads of it wait for a disk that hangs: Python itself would wait for them for ever.

    What they were writing is healed by the next start, as after a crash.
    """
    deadline_s = time.monotonic() + THREADS_END_S
    hanging = []
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join(max(0.0, deadline_s - time.monotonic()))
            if thread.is_alive():
                hanging.append(thread.name)
    if hanging:
        log.error("left behind: %s; what they were writing is healed at the next start", ", ".join(hanging))
        logging.shutdown()
        sys.stdout.flush()
        os._exit(0)


def _probe(settings: Settings, options: argparse.Namespace) -> int:
    from web.probe import probe

    camera = settings.camera("probe", {"url": options.url})
    try:
        for line in probe(camera):
            print(line)
    except LiveedgeError as error:
        print(f"liveedge: {redact(error)}", file=sys.stderr)
        return 1
    return 0


def _check(settings: Settings, options: argparse.Namespace) -> int:
    from hls.archive.check import check_archive

    findings = check_archive(settings, repair=options.repair)
    for finding in findings:
        print(finding)
    print("the archive is whole" if not findings else f"{len(findings)} finding(s)")
    return 0 if not findings or options.repair else 1


if __name__ == "__main__":
    raise SystemExit(main())
