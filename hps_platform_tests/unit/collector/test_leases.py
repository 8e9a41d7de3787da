"""Who should have which server: everybody agrees, shares are even, and only what must move does."""

from collections import Counter
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from hps_platform.collector.leases import owner
from hps_platform.store.collectors import Member

members = st.lists(st.uuids(), min_size=1, max_size=6, unique=True).map(
    lambda ids: [Member(made, f"session {number}", "c") for number, made in enumerate(ids)]
)


@given(members=members, seed=st.randoms())
def test_the_order_of_collectors_is_of_no_account(members: list[Member], seed: "st.Random") -> None:  # type: ignore[name-defined]
    shuffled = list(members)
    seed.shuffle(shuffled)
    assert all(owner(server, members) == owner(server, shuffled) for server in range(50))


@given(members=members, new=st.uuids())
def test_a_new_collector_moves_only_its_own_share(members: list[Member], new: UUID) -> None:
    added = Member(new, "session", "new")
    for server in range(100):
        before, after = owner(server, members), owner(server, [*members, added])
        assert after in (before, added)


@given(members=members)
def test_one_that_goes_moves_nothing_but_its_own(members: list[Member]) -> None:
    gone, left = members[0], members[1:]
    for server in range(100):
        before = owner(server, members)
        if before != gone:
            assert owner(server, left) == before


def test_shares_are_even() -> None:
    members = [Member(UUID(int=number), "s", "c") for number in range(1, 5)]
    shares = Counter(member.id for server in range(4_000) if (member := owner(server, members)))
    assert all(800 < share < 1_200 for share in shares.values())


def test_a_collector_of_one_server_takes_no_other() -> None:
    only = Member(UUID(int=1), "s", "c", only=7)
    assert owner(7, [only]) == only
    assert owner(8, [only]) is None
