"""CommandQueues refuse commands beyond their bound, and count them."""

import pytest

from gateway.errors import UnavailableError
from signaling.command_queues import CommandQueues


async def test_refused_commands_are_counted() -> None:
    queues = CommandQueues(queue_max=1)
    async with queues.turn("a"):
        for _ in range(2):
            with pytest.raises(UnavailableError):
                async with queues.turn("a"):
                    pass
        async with queues.turn("b"):
            pass
    async with queues.turn("a"):
        pass
    assert queues.refused == 2
