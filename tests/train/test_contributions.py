"""Forms of per-unit gradients against the same written out."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.train.naive import whole
from torch import Tensor

from pellucid.train.contributions import (
    Contribution,
    Convolution,
    Direct,
    Outer,
    Room,
    Rows,
    Stacked,
    Sum,
    Tied,
    combine,
    gram,
    outer,
)
from pellucid.train.contributions.base import SLAB, chunks
from pellucid.train.contributions.convolution import Geometry

KINDS = st.sampled_from([torch.float32, torch.float64])
DRAWS = st.integers(0, 2**31)
LARGE = 1 << 30


def agree(found: Contribution, expected: Tensor, kind: torch.dtype) -> None:
    """Norms, sums and written-out gradients, with room and without, of all units and of some."""
    tolerance = 1e-10 if kind == torch.float64 else 1e-5
    units = len(expected)
    expected = expected.double()
    norms = expected.reshape(units, -1).norm(dim=1)
    factors = torch.rand(units, generator=torch.Generator().manual_seed(units), dtype=torch.float64)
    some = torch.arange(units - 1, -1, -2)
    assert (found.units, found.shape) == (units, tuple(expected.shape[1:]))
    torch.testing.assert_close(found.per_unit().double(), expected, rtol=tolerance, atol=0)
    everyone = torch.arange(units)
    for room in (Room(0), Room(LARGE), Room(LARGE, lasting=True)):
        one = found.select(everyone)
        measured, gone = one.squared_norms(room).sqrt(), norms == 0
        torch.testing.assert_close(measured[~gone], norms[~gone], rtol=tolerance, atol=0)
        # of terms that take each other away, the norm is what rounding may have hidden, never less
        assert (measured[gone] < 0.1).all()
        for contribution, which in ((one, everyone), (one.select(some), some)):
            summed = torch.einsum("u,u...->...", factors[which], expected[which])
            scale = float(torch.einsum("u,u...->...", factors[which], expected[which].abs()).max())
            total = contribution.weighted_sum(factors[which])
            torch.testing.assert_close(total.double(), summed, rtol=0, atol=tolerance * scale)


# -- forms ------------------------------------------------------------------------------------------------------------


@settings(max_examples=60)
@given(
    units=st.integers(1, 5),
    t=st.integers(1, 6),
    p=st.integers(1, 5),
    d=st.integers(1, 5),
    way=st.sampled_from(["gram", "write", "own"]),
    kind=KINDS,
    draw=DRAWS,
)
def test_outer(units: int, t: int, p: int, d: int, way: str, kind: torch.dtype, draw: int) -> None:
    a, g = whole((units, t, p), kind, draw), whole((units, t, d), kind, draw + 1)
    expected = torch.einsum("utd,utp->udp", g, a)
    with pytest.MonkeyPatch.context() as patch:
        if way != "own":
            patch.setattr(outer, "WRITE" if way == "gram" else "SQUARE", 10**12)
        agree(Outer(a, g), expected, kind)
        agree(Outer(a, g, (d * p, 1)), expected.reshape(units, d * p, 1), kind)
        if t == 1:
            agree(Outer(a[:, 0], g[:, 0], bias=Direct(g[:, 0])), expected, kind)


def test_outer_is_written_out_where_that_is_cheaper_and_kept_if_it_fits() -> None:
    made = {"long": (Outer(torch.ones(2, 200, 4), torch.ones(2, 200, 4)), True)}
    made["short"] = (Outer(torch.ones(2, 2, 64), torch.ones(2, 2, 64)), False)
    for contribution, written in made.values():
        room = Room(LARGE)
        contribution.squared_norms(room)
        assert (room.left < LARGE) == written
    room = Room(2 * 16 * 4 - 1)
    made["long"][0].select(torch.arange(2)).squared_norms(room)
    assert room.left == 2 * 16 * 4 - 1


@settings(max_examples=40)
@given(
    units=st.integers(1, 4),
    t=st.integers(1, 7),
    count=st.integers(1, 5),
    kind=KINDS,
    draw=DRAWS,
)
def test_rows_add_up_where_a_unit_uses_one_twice(units: int, t: int, count: int, kind: torch.dtype, draw: int) -> None:
    index = torch.randint(0, count, (units, t), generator=torch.Generator().manual_seed(draw))
    g = whole((units, t, 3), kind, draw + 1)
    expected = torch.zeros(units, count, 3, dtype=kind)
    for u in range(units):
        for s in range(t):
            expected[u, index[u, s]] += g[u, s]
    agree(Rows(index, g, count), expected, kind)
    agree(Rows(index.int(), g, count), expected, kind)


@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (200,)])
def test_direct(shape: tuple[int, ...]) -> None:
    gradient = whole((4, *shape), torch.float32, 1)
    agree(Direct(gradient), gradient, torch.float32)


def test_stacked() -> None:
    parts: list[Contribution] = [
        Outer(whole((3, 2, 4), torch.float64, 1), whole((3, 2, 5), torch.float64, 2)),
        Direct(whole((3, 2, 4), torch.float64, 3)),
    ]
    agree(Stacked(parts), torch.cat([part.per_unit() for part in parts], 1), torch.float64)


# -- several uses of one parameter ------------------------------------------------------------------------------------


@settings(max_examples=60)
@given(data=st.data(), kind=KINDS, draw=DRAWS)
def test_combine_is_the_sum_of_its_parts(data: st.DataObject, kind: torch.dtype, draw: int) -> None:
    units = data.draw(st.integers(1, 4))
    parts: list[Contribution] = []
    for number, form in enumerate(
        data.draw(st.lists(st.sampled_from(["outer", "flat", "rows", "direct"]), min_size=1))
    ):
        t = data.draw(st.integers(1, 3))
        if form in ("outer", "flat"):
            middle = (t,) if form == "outer" else ()
            a, g = whole((units, *middle, 3), kind, draw + number), whole((units, *middle, 4), kind, draw - number)
            parts.append(Outer(a, g))
        elif form == "rows":
            index = whole((units, t), torch.float32, draw + number).abs().long() % 4
            parts.append(Rows(index, whole((units, t, 3), kind, draw + number), 4))
        else:
            parts.append(Direct(whole((units, 4, 3), kind, draw + number)))
    expected = torch.stack([part.per_unit() for part in parts]).sum(0)
    agree(combine(parts), expected, kind)


def test_combine_keeps_forms_where_it_can() -> None:
    def table(t: int) -> Outer:
        return Outer(torch.ones(2, t, 3), torch.ones(2, t, 4))

    rows = Rows(torch.zeros(2, 5, dtype=torch.long), torch.ones(2, 5, 3), 4)
    assert type(combine([table(1), table(2)])) is Outer
    assert type(combine([rows, rows])) is Rows
    assert type(combine([Direct(torch.ones(2, 3)), Direct(torch.ones(2, 3))])) is Direct
    assert type(combine([rows, table(1), rows, table(2)])) is Tied
    assert type(combine([table(1), Direct(torch.ones(2, 4, 3))])) is Sum
    assert combine([rows]) is rows


def test_a_convolution_used_twice() -> None:
    def convolution(draw: int) -> Convolution:
        x, g = whole((3, 2, 5, 5), torch.float64, draw), whole((3, 4, 4, 4), torch.float64, draw + 1)
        return Convolution(x, g, 4, 3, Geometry((2, 2), (1, 1), (0, 0), (1, 1), 1))

    parts = [convolution(1), convolution(3)]
    agree(combine(parts), parts[0].per_unit() + parts[1].per_unit(), torch.float64)


def test_uses_of_different_types_are_promoted() -> None:
    first = Outer(whole((2, 2, 3), torch.float32, 1), whole((2, 2, 4), torch.float32, 2))
    second = Outer(whole((2, 1, 3), torch.float64, 3), whole((2, 1, 4), torch.float64, 4))
    rows = Rows(torch.zeros(2, 1, dtype=torch.long), whole((2, 1, 3), torch.float64, 5), 4)
    for parts in ([first, second], [first, rows], [first, second, rows]):
        expected = torch.stack([part.per_unit().double() for part in parts]).sum(0)
        agree(combine(parts), expected, torch.float32)


# -- exactness --------------------------------------------------------------------------------------------------------


def _cancelling(units: int, t: int, p: int, d: int, rest: float) -> tuple[Tensor, Tensor]:
    """Factors whose sum of outer products cancels down to ``rest`` of its parts."""
    a, g = torch.randn(units, t, p), torch.randn(units, t, d)
    half = t // 2
    a[:, half:] = a[:, :half]
    g[:, half:] = rest * g[:, half:] - g[:, :half]
    return a, g


@pytest.mark.parametrize("rest", [1.0, 1e-1, 1e-2, 1e-3])
def test_norms_are_right_where_a_sum_cancels(monkeypatch: pytest.MonkeyPatch, rest: float) -> None:
    monkeypatch.setattr(outer, "WRITE", 10**12)  # Gram, if it can be trusted
    torch.manual_seed(7)
    a, g = _cancelling(8, 64, 48, 32, rest)
    exact = torch.einsum("utd,utp->udp", g.double(), a.double()).flatten(1).norm(dim=1)
    relative = Outer(a, g).squared_norms(Room(0)).sqrt() / exact - 1
    assert float(relative.abs().max()) < 1e-5


def test_gram_norms_alone_would_be_wrong_where_a_sum_cancels(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test above can fail: without the fallback it does."""
    monkeypatch.setattr(outer, "WRITE", 10**12)
    monkeypatch.setitem(gram.TRUSTED, torch.float32, float("inf"))
    torch.manual_seed(7)
    a, g = _cancelling(8, 64, 48, 32, 1e-3)
    exact = torch.einsum("utd,utp->udp", g.double(), a.double()).flatten(1).norm(dim=1)
    relative = Outer(a, g).squared_norms(Room(0)).sqrt() / exact - 1
    assert not float(relative.abs().max()) < 1e-5


@pytest.mark.parametrize("alike", ["random", "equal", "positive", "drift"])
def test_gram_norms_are_never_too_small(monkeypatch: pytest.MonkeyPatch, alike: str) -> None:
    monkeypatch.setattr(outer, "WRITE", 10**12)
    torch.manual_seed(3)
    for t, p, d in ((2, 3000, 40), (8, 768, 768), (128, 64, 10), (256, 4, 4)):
        a, g = torch.randn(4, t, p), torch.randn(4, t, d)
        if alike == "equal":
            a, g = a[:, :1].expand(-1, t, -1).contiguous(), g[:, :1].expand(-1, t, -1).contiguous()
        elif alike == "positive":
            a, g = a.abs(), g.abs()
        elif alike == "drift":
            a = a + 10
        exact = torch.einsum("utd,utp->udp", g.double(), a.double()).square().sum((1, 2))
        relative = Outer(a, g).squared_norms(Room(0)) / exact - 1
        assert float(relative.min()) >= -1e-6
        assert float(relative.max()) < 2e-5


@pytest.mark.parametrize("t", [1, 2, 40])
def test_norms_of_large_gradients_are_not_underestimated(t: int) -> None:
    """A float32 norm in one pass over 4 million equal numbers is."""
    a, g = torch.full((1, t, 2000), 1.1), torch.full((1, t, 2000), 0.7)
    exact = t * 2000 * float(a[0, 0, 0].double() * g[0, 0, 0].double())
    for room in (Room(0), Room(LARGE)):
        norm = float(Outer(a, g).squared_norms(room).sqrt())
        assert abs(norm / exact - 1) < 1e-5


def test_convolution_norms_are_right_where_a_sum_cancels() -> None:
    torch.manual_seed(2)
    a, g = torch.randn(6, 64, 2, 4), torch.randn(6, 64, 2, 4)
    a[..., 2:], g[..., 2:] = a[..., :2], 1e-3 * g[..., 2:] - g[..., :2]
    image = Geometry((1, 1), (1, 1), (0, 0), (1, 1), 1)
    found = Convolution(a, g, 64, 6, image)
    room = Room(LARGE)
    relative = found.squared_norms(room).sqrt() / found.double().per_unit().flatten(1).norm(dim=1) - 1
    assert room.left == LARGE  # by Gram matrices
    assert float(relative.abs().max()) < 1e-5


def test_tied_norms_are_right_where_both_uses_cancel() -> None:
    torch.manual_seed(5)
    index = torch.randint(0, 50, (4, 1))
    a, g = torch.randn(4, 1, 6), torch.zeros(4, 1, 50)
    g.scatter_(2, index[:, :, None], torch.randn(4, 1, 1))
    rows = -(g.gather(2, index[:, :, None]) * a) * (1 + 1e-3 * torch.randn(4, 1, 6))
    tied = combine([Outer(a, g), Rows(index, rows, 50)])
    assert type(tied) is Tied
    exact = tied.per_unit().double().flatten(1).norm(dim=1)
    relative = tied.squared_norms(Room(0)).sqrt() / exact - 1
    assert float(relative.abs().max()) < 1e-5


# -- units that are not finite ----------------------------------------------------------------------------------------


def _forms(bad: float) -> dict[str, Contribution]:
    """Every form, with ``bad`` in unit 1 of 3."""

    def spoilt(*shape: int, draw: int = 1) -> Tensor:
        values = whole(shape, torch.float32, draw)
        values[1].view(-1)[0] = bad
        return values

    index = whole((3, 4), torch.float32, 9).abs().long()
    image = Geometry((3, 3), (1, 1), (1, 1), (1, 1), 1)
    table = Outer(whole((3, 2, 6), torch.float32, 1), spoilt(3, 2, 5))
    rows = Rows(index, spoilt(3, 4, 6), 5)
    return {
        "direct": Direct(spoilt(3, 4)),
        "outer": Outer(spoilt(3, 4), whole((3, 5), torch.float32, 2)),
        "gram": Outer(spoilt(3, 2, 40), whole((3, 2, 40), torch.float32, 2)),
        "written": Outer(spoilt(3, 40, 4), whole((3, 40, 5), torch.float32, 2)),
        "rows": rows,
        "convolution": Convolution(spoilt(3, 4, 6, 6), whole((3, 4, 6, 6), torch.float32, 2), 4, 3, image),
        "wide": Convolution(spoilt(3, 16, 9, 9), whole((3, 16, 9, 9), torch.float32, 2), 16, 3, image),
        "gram convolution": Convolution(spoilt(3, 64, 2, 2), whole((3, 64, 2, 2), torch.float32, 2), 64, 3, image),
        "tied": combine([table, rows]),
        "stacked": Stacked([table, table]),
        "sum": combine([table, Direct(spoilt(3, 5, 6))]),
    }


@pytest.mark.parametrize("form", list(_forms(0.0)))
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 1e30])
@pytest.mark.parametrize("size", [0, LARGE])
def test_a_unit_that_is_not_finite_shows_and_leaves_others_alone(form: str, bad: float, size: int) -> None:
    found, clean = _forms(bad)[form], _forms(0.0)[form]
    squares, expected = found.squared_norms(Room(size)), clean.squared_norms(Room(size))
    assert not squares[1].isfinite()
    keep = torch.tensor([0, 2])
    torch.testing.assert_close(squares[keep], expected[keep], rtol=1e-5, atol=0)
    factors = torch.tensor([0.5, 0.25], dtype=torch.float64)
    torch.testing.assert_close(
        found.select(keep).weighted_sum(factors), clean.select(keep).weighted_sum(factors), rtol=1e-5, atol=1e-4
    )


# -- room and pieces --------------------------------------------------------------------------------------------------


def test_room_gives_what_is_left_and_no_more() -> None:
    room = Room(100)
    assert room.take(60)
    assert not room.take(41)
    assert room.take(40)
    assert not room.take(1)
    room.clear()
    assert room.take(100)


def test_a_lasting_room_uses_its_memory_again() -> None:
    room = Room(LARGE, lasting=True)
    like = torch.zeros(1, dtype=torch.float64)
    addresses = []
    for _ in range(3):
        room.clear()
        first, second = room.hold(3, 5, like), room.hold(2, 7, like)
        assert (first.shape, first.dtype, second.shape) == ((3, 5), torch.float64, (2, 7))
        first.fill_(1.0)
        second.fill_(2.0)
        assert bool((first == 1).all())
        big = room.hold(2, SLAB // 8, like)
        assert big.shape == (2, SLAB // 8)
        scratch = room.scratch(3, 4, like=like).fill_(3.0)
        assert (scratch.shape, scratch.dtype) == ((3, 4), torch.float64)
        assert bool((first == 1).all())
        assert bool((second == 2).all())
        addresses.append((first.data_ptr(), second.data_ptr(), big.data_ptr(), scratch.data_ptr()))
    assert len(set(addresses)) == 1


def test_a_lasting_room_serves_batches_of_any_size() -> None:
    room = Room(LARGE, lasting=True)
    for units in (5, 9, 2):
        room.clear()
        a, g = whole((units, 40, 4), torch.float32, units), whole((units, 40, 6), torch.float32, units + 1)
        found = [Outer(a, g), Outer(g, a)]
        for contribution in found:
            contribution.squared_norms(room)
        ones = torch.ones(units, dtype=torch.float64)
        for contribution in found:
            torch.testing.assert_close(contribution.weighted_sum(ones), contribution.per_unit().sum(0))


def test_norms_may_be_asked_for_again() -> None:
    a, g = whole((3, 40, 4), torch.float32, 1), whole((3, 40, 6), torch.float32, 2)
    image = Geometry((3,), (1,), (1,), (1,), 1)
    for found in (Outer(a, g), Convolution(a.transpose(1, 2), g.transpose(1, 2), 6, 3, image)):
        first = found.squared_norms(Room(LARGE))
        assert torch.equal(found.squared_norms(Room(LARGE)), first)
        ones = torch.ones(3, dtype=torch.float64)
        torch.testing.assert_close(found.weighted_sum(ones), found.per_unit().sum(0))


@given(units=st.integers(1, 50), size=st.integers(0, 30), limit=st.integers(1, 100))
def test_chunks_cover_every_unit_once_within_the_limit(units: int, size: int, limit: int) -> None:
    parts = list(chunks(units, size, limit))
    assert [u for part in parts for u in range(units)[part]] == list(range(units))
    assert all((part.stop - part.start) * size <= limit or part.stop - part.start == 1 for part in parts)
