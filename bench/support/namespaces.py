"""Machines as network namespaces, joined by networks that can be cut one by one. Needs root on Linux.

The process that makes them has a namespace of its own, too (:func:`enter`): it is the machine ``.1`` of each network,
where databases, cameras and viewers are. A network is a bridge, and each machine has a link to each of the networks.
A link that is cut loses what is sent, as a broken switch does: connections stay, and nothing comes.
"""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

_ENTERED = "LIVEEDGE_BENCH_NAMESPACE"


def enter() -> None:
    """Start this program again in a network namespace of its own, where it is not in one yet."""
    if os.environ.get(_ENTERED):
        return
    if os.geteuid() != 0:
        raise SystemExit("this bench makes network namespaces: run it as root")
    os.environ[_ENTERED] = "yes"
    os.execvp("unshare", ["unshare", "--net", sys.executable, *sys.orig_argv[1:]])


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


class Machines:
    """The machines by name, and the networks by name. Addresses are 10.77.network.machine."""

    def __init__(self, machines: Sequence[str], networks: Sequence[str]) -> None:
        self.machines, self.networks = list(machines), list(networks)

    def namespace(self, machine: str) -> str:
        return f"liveedge-{os.getpid()}-{machine}"

    def address(self, network: str, machine: str | None = None) -> str:
        """That of a machine; without one, of the namespace of this process."""
        number = 1 if machine is None else 11 + self.machines.index(machine)
        return f"10.77.{1 + self.networks.index(network)}.{number}"

    def prefix(self, machine: str) -> tuple[str, ...]:
        """Of a command that is to run at a machine."""
        return ("ip", "netns", "exec", self.namespace(machine))

    def cut(self, machine: str, network: str, *, is_cut: bool = True) -> None:
        """Cut the link of a machine to a network, or join it again."""
        _ip("link", "set", self._link(machine, network), "down" if is_cut else "up")

    def _link(self, machine: str, network: str) -> str:
        return f"{network}-{machine}"

    def make(self) -> None:
        _ip("link", "set", "lo", "up")
        for network in self.networks:
            _ip("link", "add", network, "type", "bridge")
            _ip("link", "set", network, "up")
            _ip("address", "add", f"{self.address(network)}/24", "dev", network)
        for machine in self.machines:
            name = self.namespace(machine)
            _ip("netns", "add", name)
            _ip("-n", name, "link", "set", "lo", "up")
            for network in self.networks:
                link = self._link(machine, network)
                _ip("link", "add", link, "type", "veth", "peer", "name", network, "netns", name)
                _ip("link", "set", link, "master", network, "up")
                _ip("-n", name, "link", "set", network, "up")
                _ip("-n", name, "address", "add", f"{self.address(network, machine)}/24", "dev", network)

    def remove(self) -> None:
        for machine in self.machines:
            subprocess.run(["ip", "netns", "del", self.namespace(machine)], check=False, capture_output=True)


@contextmanager
def machines(names: Sequence[str], networks: Sequence[str]) -> Iterator[Machines]:
    """Make machines and networks, and remove them when the block ends."""
    made = Machines(names, networks)
    try:
        made.make()
        yield made
    finally:
        made.remove()
