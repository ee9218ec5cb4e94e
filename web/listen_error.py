"""Why the HTTP server cannot listen, for the person who starts it."""

import errno

from gateway.errors import SettingsError

PRIVILEGED_BELOW = 1024
"""Ports that most systems leave to the administrator."""


def listen_error(host: str, port: int, error: OSError) -> SettingsError:
    """What to change, by the error of the system."""
    if error.errno == errno.EADDRINUSE:
        return SettingsError(
            f"port {port} on {host} is in use: end the program that uses it, or set PORT to another; 0 takes a free one"
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        least = f": set PORT to {PRIVILEGED_BELOW} or more" if port < PRIVILEGED_BELOW else "; set PORT to another"
        return SettingsError(f"this user may not listen on port {port}{least}")
    return SettingsError(
        f"HOST is {host}, where this machine cannot listen ({error.strerror or error}): set HOST to an address of this"
        " machine, or to 0.0.0.0 for all of them"
    )
