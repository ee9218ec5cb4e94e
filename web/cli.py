"""The ``liveedge`` command.

    liveedge [serve]         run the gateway
    liveedge probe URL       report what a camera sends, or why it sends nothing
    liveedge discover        find cameras on the network
    liveedge check           compare the index of recordings with the disk; --repair repairs the differences
    liveedge verify [FILE]   verify an export, the file of a recording, or all recordings
    liveedge webhook test NAME   send a message to a webhook's endpoint
    liveedge drain [NODE]    hand the cameras of a node of a cluster over to the others
    liveedge rebalance       share the cameras of a cluster among its nodes again
    liveedge confirm-clock   after the clock of the host was set: say that it is right

Exit codes: 0 success; 1 the camera, the archive, the evidence or the endpoint has a problem; 2 the command cannot
start, and one message on standard error says what to do.
"""

import argparse
import asyncio
import contextlib
import io
import logging
import math
import os
import sys
import threading
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import NoReturn

from gateway.camera_table import Given
from gateway.config.loader import located, unknown_names
from gateway.errors import LiveedgeError, redact
from web.heap import limit_arenas
from web.observability.logs import name_worker, set_up_logging
from web.settings import PREFIXES, Settings, load_settings
from web.workers.worker import Worker, archives, this_worker

log = logging.getLogger("liveedge")

UMASK = 0o027
"""Of all files that are made: the group may read, others may not."""

SETTINGS_HELP = (
    "Settings are made in the environment (PORT=8001 liveedge) or in liveedge.toml (port = 8001);"
    " docs/configuration.md lists them all."
)

THREADS_END_S = 0.5
"""How long to wait for threads at the end. Their work was done before, so only a thread that hangs is still running."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    options = _parser().parse_args(arguments)
    if options.run is not _serve and isinstance(sys.stdout, io.TextIOWrapper):
        # Names may be in a language that the encoding of the terminal does not have.
        with contextlib.suppress(OSError):
            sys.stdout.reconfigure(errors="backslashreplace")
    try:
        worker = this_worker()
        settings = load_settings()
        if worker is not None:
            name_worker(worker.number)
            options.worker = worker
        set_up_logging(settings)
        for warning in unknown_names(Settings, PREFIXES):
            log.warning("%s", warning)
        return int(options.run(settings, options))
    except LiveedgeError as error:
        print(f"liveedge: {redact(located(error, Settings))}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


class _Parser(argparse.ArgumentParser):
    """Says also where settings are made, as people look for them among the options."""

    def error(self, message: str) -> NoReturn:
        """End with a message and exit code 2."""
        hint = (
            SETTINGS_HELP if message.startswith("unrecognized") else f"{self.prog} --help lists commands and options."
        )
        super().error(f"{message}\n{hint}")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="liveedge", description="Serve the live edge of RTSP cameras.", epilog=SETTINGS_HELP)
    parser.set_defaults(run=_serve)
    parser.add_argument(
        "--version", action="version", version=f"liveedge {version('liveedge')}", help="print the version"
    )
    commands = parser.add_subparsers(metavar="COMMAND")
    serve = commands.add_parser("serve", help="run the gateway (the default)")
    serve.set_defaults(run=_serve)
    probe = commands.add_parser("probe", help="report what a camera sends, or why it sends nothing")
    probe.add_argument("url", metavar="URL", help="rtsp://user:password@host/path")
    probe.set_defaults(run=_probe)
    _add_discover(commands)
    check = commands.add_parser("check", help="compare the index of recordings with the disk")
    check.add_argument("--repair", action="store_true", help="repair the differences")
    check.set_defaults(run=_check)
    _add_verify(commands)
    webhook = commands.add_parser("webhook", help="the webhooks of the settings")
    actions = webhook.add_subparsers(metavar="test NAME", required=True)
    test = actions.add_parser("test", help="send a message to an endpoint and report how it answers")
    test.add_argument("name", metavar="NAME", help="as in [webhooks.NAME]")
    test.set_defaults(run=_webhook_test)
    drain = commands.add_parser(
        "drain", help="hand the cameras of a node of a cluster over to the others; it takes none until it is restarted"
    )
    drain.add_argument("node", metavar="NODE", nargs="?", help="its NODE_NAME (that of these settings)")
    drain.set_defaults(run=_drain)
    rebalance = commands.add_parser("rebalance", help="share the cameras of a cluster among its nodes again")
    rebalance.set_defaults(run=_rebalance)
    confirm = commands.add_parser("confirm-clock", help="say that the clock of the host is right after it was set")
    confirm.set_defaults(run=_confirm_clock)
    return parser


def _add_discover(commands: "argparse._SubParsersAction[_Parser]") -> None:
    discover = commands.add_parser(
        "discover",
        help="find cameras on the network",
        description="Find cameras by WS-Discovery, or at addresses. With --user, ask each of them once for its streams;"
        " the password is read from CAMERA_PASSWORD, the terminal or standard input.",
    )
    discover.add_argument(
        "addresses", metavar="ADDRESS", nargs="*", help="192.168.1.20, 192.168.1.20:8080 or a network"
    )
    discover.add_argument("--seconds", type=_seconds, help="how long to wait for answers to multicast (3; 0: none)")
    discover.add_argument("--user", help="user of the cameras")
    discover.add_argument("--json", action="store_true", help="print one JSON document")
    discover.set_defaults(run=_discover)


def _add_verify(commands: "argparse._SubParsersAction[_Parser]") -> None:
    verify = commands.add_parser(
        "verify",
        help="verify an export, the file of a recording, or all recordings",
        description="Verify by SHA-256 and Ed25519 signature that recordings are as they were made. Exit code: 0 all is"
        " right, 1 something is wrong, 2 it cannot be verified.",
    )
    verify.add_argument("file", metavar="FILE", type=Path, nargs="?", help="a ZIP or MP4 (all recordings in DATA_DIR)")
    verify.add_argument("--key", type=Path, metavar="PEM", help="the public key that must have signed it")
    verify.add_argument("--evidence", type=Path, metavar="JSON", help="the record of the MP4 (FILE with .json)")
    verify.set_defaults(run=_verify)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 30:
        raise argparse.ArgumentTypeError("must be a number from 0 to 30")
    return value


def _discover(settings: Settings, options: argparse.Namespace) -> int:
    from web.onvif.command import as_json, as_table, discover, read_password

    credentials = read_password(options.user)
    devices, reports, is_complete = asyncio.run(discover(settings, options.addresses, options.seconds, credentials))
    for line in (as_json if options.json else as_table)(devices, reports, is_complete=is_complete):
        print(line)
    return 0 if devices else 1


def _serve(settings: Settings, options: argparse.Namespace) -> int:
    limit_arenas()
    # The index, thumbnails and whatever a library writes: nothing is for other users of the machine.
    os.umask(os.umask(UMASK) | UMASK)
    worker: Worker | None = getattr(options, "worker", None)
    if settings.workers > 1 and worker is None:
        return _serve_by_workers(settings)
    from web.app import serve

    asyncio.run(serve(settings, worker=worker))
    _exit_without_hanging_threads()
    return 0


def _serve_by_workers(settings: Settings) -> int:
    from web.workers.supervisor import Supervisor

    async def run() -> int:
        return await Supervisor(settings).run()

    return asyncio.run(run())


def _exit_without_hanging_threads() -> None:
    """End the process although some of its threads wait for a disk that hangs. Python itself would wait without end.

    The next start repairs the files that these threads were writing, as after a crash.
    """
    deadline_s = time.monotonic() + THREADS_END_S
    hanging = []
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join(max(0.0, deadline_s - time.monotonic()))
            if thread.is_alive():
                hanging.append(thread.name)
    if hanging:
        log.error("threads still running: %s; the next start repairs the files they were writing", ", ".join(hanging))
        logging.shutdown()
        sys.stdout.flush()
        os._exit(0)


def _probe(settings: Settings, options: argparse.Namespace) -> int:
    from web.probe import probe

    camera = settings.camera("probe", {"url": options.url}, given=Given.ARGUMENT)
    try:
        for line in probe(camera):
            print(line)
    except LiveedgeError as error:
        print(f"liveedge: {redact(error)}", file=sys.stderr)
        return 1
    return 0


def _check(settings: Settings, options: argparse.Namespace) -> int:
    from hls.archive.check import check_archive

    findings = [each for archive in archives(settings) for each in check_archive(archive, repair=options.repair)]
    for finding in findings:
        print(finding)
    print("no differences" if not findings else f"{len(findings)} difference(s)")
    return 0 if not findings or options.repair else 1


def _verify(settings: Settings, options: argparse.Namespace) -> int:
    from web.verify_command import verify

    reports = verify(archives(settings), options.file, options.key, options.evidence)
    for line in (line for report in reports for line in report.lines):
        print(line)
    faults = sum(report.faults for report in reports)
    print("RIGHT: nothing is wrong" if not faults else f"WRONG: {faults} fault(s)")
    return 0 if not faults else 1


def _webhook_test(settings: Settings, options: argparse.Namespace) -> int:
    from web.webhooks.command import send_test

    is_delivered, sentence = asyncio.run(send_test(settings, options.name))
    print(sentence)
    return 0 if is_delivered else 1


def _drain(settings: Settings, options: argparse.Namespace) -> int:
    from web.cluster.command import drain

    is_drained, sentence = drain(settings, options.node)
    print(sentence)
    return 0 if is_drained else 1


def _rebalance(settings: Settings, _options: argparse.Namespace) -> int:
    from web.cluster.command import rebalance

    is_asked, sentence = rebalance(settings)
    print(sentence)
    return 0 if is_asked else 1


def _confirm_clock(settings: Settings, _options: argparse.Namespace) -> int:
    from gateway.clock import SYSTEM_CLOCK, to_rfc3339
    from hls.archive.clock_file import write_confirmation

    for archive in archives(settings):
        write_confirmation(archive.data_dir, SYSTEM_CLOCK)
    print(f"confirmed: it is {to_rfc3339(SYSTEM_CLOCK.wall_90k())}; a running gateway takes this within 10 seconds")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
