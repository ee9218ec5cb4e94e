"""Retries: when the next attempt is made, and when a message is given up. Sans-IO; ``now_s`` is monotonic time.

Rules:

1. After a failure the endpoint rests: 5 s, then twice as long each time up to :data:`LONGEST_S`, jittered downwards;
   longer if it asked for that (Retry-After). A success ends this.
2. A message that cannot be delivered is kept for :data:`KEEP_S`, counted from the start of this process.
3. An endpoint that answers, and refuses one message for :data:`REFUSED_S` and at least :data:`REFUSED_MIN` times, gets
   the next one: a message that it cannot process must not hold up all others.
"""

import random
from collections.abc import Callable

from gateway.backoff import Backoff
from web.webhooks.post import Outcome, Verdict

FIRST_S = 5.0
LONGEST_S = 300.0

KEEP_S = 3 * 86_400.0
"""A weekend."""

REFUSED_S = 3600.0
REFUSED_MIN = 5


class Retries:
    """See the module."""

    def __init__(self, jitter: Callable[[], float] = random.random) -> None:
        self.next_s = float("-inf")
        """No attempt before."""
        self._backoff = Backoff(0, FIRST_S / 2, jitter, LONGEST_S)
        self._refused: tuple[str, float, int] | None = None
        """The message that is refused, since when, and how often."""

    @property
    def failures(self) -> int:
        """Failed attempts since the last success."""
        return self._backoff.failures

    @staticmethod
    def is_expired(added_s: float, now_s: float) -> bool:
        """Rule 2."""
        return now_s - added_s > KEEP_S

    def note(self, message_id: str, outcome: Outcome, now_s: float) -> bool:
        """An attempt has ended. Whether the message is done: delivered, or given up by rule 3."""
        if outcome.verdict is Verdict.DELIVERED:
            self.reset()
            return True
        self.next_s = now_s + max(self._backoff.failed(), outcome.retry_after_s)
        if outcome.verdict is not Verdict.REFUSED:
            return False
        _, since_s, count = self._refused if self._is_of(message_id) else (message_id, now_s, 0)  # type: ignore[misc]
        self._refused = (message_id, since_s, count + 1)
        return now_s - since_s >= REFUSED_S and count + 1 >= REFUSED_MIN

    def reset(self) -> None:
        """The endpoint works, or was changed."""
        self._backoff.reset()
        self._refused = None
        self.next_s = float("-inf")

    def _is_of(self, message_id: str) -> bool:
        return self._refused is not None and self._refused[0] == message_id
