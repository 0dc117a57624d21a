"""Three nodes that lose, double, delay and reorder what they tell each other (P8).

A pure model, with nothing but the engine and the facts that it writes: nodes send each change to
the others, a split or bad luck keeps it from arriving. Whatever happens, nobody is let in before
the delay is over, and each write that is lost costs its sender one more deferral at most.
"""

from __future__ import annotations

from random import Random

import pytest

from greylag.core.policy import Policy
from greylag.core.record import Change, Record, applied
from greylag.core.triplet import Triplet
from greylag.core.verdict import Verdict
from tests.core.asking import DELAY, KEY, Given, T, ask

SCHEDULES = 10_000
NODES, ATTEMPTS = 3, 40
ATTEMPT, POLICY = Given().attempt(), Policy()


class Cluster:
    """Nodes that each hold a state, and what is on its way between them."""

    def __init__(self, luck: Random, loss: float) -> None:
        self.luck, self.loss = luck, loss
        self.nodes: list[dict[Triplet, Record]] = [{} for _ in range(NODES)]
        self.way: list[tuple[int, Change]] = []
        self.alone: int | None = None  # the node that a split cuts off

    def ask(self, node: int, now: int) -> bool:
        """Ask one node; tell whether it lets in."""
        decision = ask(ATTEMPT, self.nodes[node], POLICY, now)
        if self.luck.random() >= self.loss:  # else acknowledged, and gone: nobody ever sees it
            for change in decision.changes:
                self._write(node, change, now)
                others = [n for n in range(NODES) if n != node]
                self.way += [(n, change) for n in others for _ in range(self.luck.choice((1, 2)))]
        return decision.verdict is Verdict.PASS

    def step(self, now: int) -> None:
        """Begin or end a split; let some of what is on its way arrive, in any order."""
        if self.luck.random() < 0.2:
            self.alone = self.luck.choice((None, *range(NODES)))
        self.luck.shuffle(self.way)
        self.deliver(now, self.luck.randrange(len(self.way) + 1))

    def deliver(self, now: int, count: int) -> None:
        arriving, self.way = self.way[:count], self.way[count:]
        for node, change in arriving:
            if node == self.alone:
                self.way.append((node, change))
            else:
                self._write(node, change, now)

    def _write(self, node: int, change: Change, now: int) -> None:
        after = applied(change, self.nodes[node].get(KEY), now)
        if after is not None:
            self.nodes[node][KEY] = after


@pytest.mark.parametrize("loss", [0.0, 0.3])
def test_never_in_before_the_delay_and_always_in_the_end_p8(loss: float) -> None:
    passes = 0
    for seed in range(SCHEDULES):
        luck = Random(f"{loss} {seed}")
        cluster, now, first = Cluster(luck, loss), T, T
        for _ in range(ATTEMPTS):
            node = luck.randrange(NODES)
            if cluster.ask(node, now):
                assert now >= first + DELAY, f"schedule {seed}: let in after {now - first} s"
                passes += 1
                break
            now += luck.randrange(1, 200)
            cluster.step(now)
        cluster.alone, cluster.loss = None, 0.0
        cluster.ask(luck.randrange(NODES), now)
        cluster.deliver(now, len(cluster.way))
        late = [cluster.ask(node, now + DELAY) for node in range(NODES)]
        assert all(late), f"schedule {seed}: healed, and still deferred"
    assert passes > SCHEDULES // 2, "hardly a schedule got that far"


@pytest.mark.parametrize("lost", range(6))
def test_a_lost_write_costs_one_more_deferral_at_most_p8(lost: int) -> None:
    """A sender that comes once in each delay, to any node; writes reach all but those lost."""
    for seed in range(SCHEDULES // 20):
        luck = Random(seed)
        gone = set(luck.sample(range(6), lost))
        cluster, now, deferrals = Cluster(luck, 0.0), T, 0
        for number in range(12):
            cluster.loss = 1.0 if number in gone else 0.0
            if cluster.ask(luck.randrange(NODES), now):
                break
            deferrals += 1
            luck.shuffle(cluster.way)
            cluster.deliver(now, len(cluster.way))
            now += DELAY
        assert deferrals <= 1 + lost, f"schedule {seed}: {deferrals} deferrals, {lost} lost"
