"""Which of several pools may use a queue: the oldest. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

_NEVER = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class QueueClaim:
    """A pool's wish to use a queue.

    Attributes:
        account: The storage account: queues of one name in two accounts are two queues.
        queue: The name of the queue.
        created_at: `metadata.creationTimestamp` of the pool.
        namespace: Of the pool.
        name: Of the pool.
    """

    account: str
    queue: str
    created_at: datetime | None
    namespace: str
    name: str

    @property
    def seniority(self) -> tuple[datetime, str, str]:
        """The order in which pools come first."""
        return (self.created_at or _NEVER, self.namespace, self.name)


def queue_owner(claim: QueueClaim, others: Iterable[QueueClaim]) -> QueueClaim | None:
    """The older pool that has the same queue, or None if the queue is the claimant's own.

    Pools of the same second are ordered by namespace and name, so that all agree.
    """
    older = [
        other
        for other in others
        if (other.account, other.queue) == (claim.account, claim.queue)
        and (other.namespace, other.name) != (claim.namespace, claim.name)
        and other.seniority < claim.seniority
    ]
    return min(older, key=lambda other: other.seniority, default=None)
