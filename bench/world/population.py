"""Who sends: all of them in one table, and the world that they make.

    kind                    who
    pool, SPF               6 pools of 8 to 32 networks (/24; one: /64), of which each attempt
                            takes another: SPF by one range, by many (more than a datagram holds),
                            by `include`, by a chain of `redirect` and `include`, by `mx`; IPv6
    pool, SPF, domains      2 pools that send for 12 and for 6 domains, which publish `include` and
                            `redirect` to theirs
    pool, names alone       2 pools without SPF, whose names lead back: one domain, four domains
    pool, neither           2 pools: no names and no SPF; names that lead nowhere and `?all`
    single                  15 sites with one server: with SPF and name, with a name alone; one on
                            IPv6, one whose PTR is a CNAME (RFC 2317), one in its hoster's name
    single, a sign          5 more: dynamic-looking name, no name (with SPF, without), no answer
                            from their name servers, a HELO that nobody on the internet can have
    list                    15 lists and 15 bulk senders; nearly all write a new sender for each
                            mail; the bulk senders share three pools
    forwarder, SRS          4 forwarders, SRS0 and SRS1
    forwarder, no SRS       one that rewrites nothing, so SPF fails
    login code              4 services, each code to another user; codes are of use for 600 s
    login code, expected    the same, and the operator was told to expect mail
    correspondent           who answers a user who wrote to him, from any of the pools and sites
    bot, one try            from random forged domains; one attempt
    bot, same address       retries after 330, 480, 600 s and a day, from where it was
    bot, other address      the same, from another bot each time
    bot, own domain         the same; SPF of its domain passes everybody, in nine ways
    bot, forged sender      an address of a big provider; a burst, then from other bots
    bot, fake name          PTR has a name of a pool, which does not lead back; or a name that leads
                            back and that an access provider made; from other bots each time
    rented, one try         servers in good order, with names and a narrow SPF: nothing tells them
    rented, a pool          from others, and these retry from all of their eight networks

All of it follows from a seed.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from bench.world import bots, bulk, pools, singles
from bench.world.traffic import DAY, USERS, Lesson, Mail, Traffic
from bench.world.zones import Names

CORRESPONDENT = "correspondent"
POOLS_WITH_SPF = (pools.SPF, pools.DOMAINS)
GOOD = (
    *POOLS_WITH_SPF, pools.BY_NAME, pools.NEITHER, singles.SINGLE, singles.SIGN, bulk.LIST,
    bulk.FORWARDER, bulk.PLAIN_FORWARDER, bulk.CODE, bulk.EXPECTED, CORRESPONDENT,
)  # fmt: skip


@dataclass(frozen=True)
class Population:
    """All who send in some days, and what DNS says of them."""

    zones: dict[str, str]
    refused: tuple[str, ...]  # zones about which nobody gets an answer
    traffic: Traffic


def _answers(seed: int, days: int, share: float) -> Traffic:
    """Let users write to people who never wrote to them, who answer within a day."""
    rng = Random(f"{seed} correspondents")
    mails, lessons = [], []
    for number in range(round(12 * days * share)):
        at = rng.randrange(max(1, (days - 1) * DAY) if days > 1 else DAY // 2)
        user = rng.choice(USERS).encode()
        local = f"partner{chr(97 + number % 26)}{chr(97 + number // 26 % 26)}"
        pool, site = rng.choice(pools.POOLS), rng.choice(singles.SINGLES)
        if number % 2:
            hosts, schedule = pools.route(pool, rng), pool.schedule
            partner = f"{local}@{rng.choice(pool.sender_domains)}".encode()
        else:
            hosts, schedule = (site.host,), site.schedule
            partner = f"{local}@{site.domain}".encode()
        lessons.append(Lesson(at, user, partner))
        answered = at + rng.randrange(600, DAY // 2)
        seeded = f"{seed} {number}"
        mails.append(Mail(CORRESPONDENT, "", answered, partner, user, hosts, schedule, seeded))
    return Traffic(tuple(mails), tuple(lessons))


def population(seed: int, days: int, bots_per_day: float, share: float = 1) -> Population:
    """Make the world that follows from a seed, with a share of its good mail."""
    names = Names()
    pools.publish(names)
    singles.publish(names)
    bulk.publish(names)
    bots.publish(names, seed)
    made = bots.traffic(seed, days, bots_per_day)
    for one in (pools.traffic, singles.traffic, bulk.traffic, _answers):
        made += one(seed, days, share)
    return Population(names.zones(), (singles.REFUSED,), made)
