"""What a fleet says of an instance whose token is being renewed when the time is up."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fdi_health.client import Client
from fdi_health.deadline import Deadline
from fdi_health.fleet import Fleet
from fdi_health.model import Instance, Token
from fdi_health.pool import Pool
from fdi_health.transport import Transport
from tests.conftest import PROJECT_ID

if TYPE_CHECKING:
    from simulator import Simulator


@dataclass
class Stuck:
    """A token source whose renewal minds no deadline."""

    over: threading.Event = field(default_factory=threading.Event)

    def current(self, deadline: Deadline) -> Token:
        return Token("refused", 1)

    def renew(self, refused: Token, deadline: Deadline) -> Token:
        self.over.wait(5)
        return refused


def test_renewal_under_way_at_the_deadline__is_token_unavailable(upstream: Simulator) -> None:
    instance = Instance("one", "id-one")
    upstream.play("id-one", "healthy")
    transport, pool, tokens = Transport.open(upstream.url, {}, 1), Pool(1), Stuck()

    (finding,) = Fleet(Client(transport, PROJECT_ID), pool, 0.0).check([instance], tokens, Deadline.after(0.3))

    tokens.over.set()
    pool.close()
    transport.close()
    assert finding.error is not None
    assert (finding.instance, finding.error.code) == (instance, "token_unavailable")
    assert "refused" in finding.error.message
