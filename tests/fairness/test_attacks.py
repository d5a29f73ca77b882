"""Four clients at full speed on the server's own cores keep nobody else waiting.

Each test starts the real server, attacks it from processes of their own, and measures
meanwhile what well-behaved clients of every worker have to bear.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

import pytest

from tests.conftest import Server
from tests.fairness.attackers import ATTACKS
from tests.fairness.measures import Bystanders, attackers


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_keeps_nobody_waiting(
    app: object, serve: Callable[..., Server], attack: str
) -> None:
    server = serve()
    with closing(Bystanders(server)) as bystanders, attackers(server, attack):
        bystanders.measure()
        cost = bystanders.stop()
    print(f"COST {attack}: {cost}")
    cost.check()
