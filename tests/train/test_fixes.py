"""What stands in for an unsound layer does the same job, row by row, and keeps what it was given."""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from pellucid.train.calls import coupling, layer_name, observe
from pellucid.train.doctor import diagnose, render
from pellucid.train.doctor.construction import Edit, Site, made_at, rewrite, unified, watching
from pellucid.train.doctor.fixes import GROUPS, LEAST, erases, normalisers
from pellucid.train.probe import generated

SOURCE = """\
from torch import nn

def block(a, b):
    return nn.Sequential(nn.Conv2d(a, b, 3, padding=1), nn.BatchNorm2d(b, momentum=0.2), nn.ReLU())  # größer

def build():
    return nn.Sequential(*[block(a, b) for a, b in ((1, 12), (12, 48))])
"""


def mended(model: nn.Module, shape: tuple[int, ...]) -> nn.Module:
    """The one fix of a model of one unsound layer."""
    diagnosis = diagnose(model, shape)
    assert diagnosis.left == 0
    assert len(diagnosis.fixes) == 1
    return diagnosis.fixes[0].replacement


# -- normalisation -------------------------------------------------------------------------------------------------


@settings(max_examples=15)
@given(channels=st.integers(1, 70), side=st.integers(1, 6))
def test_batch_norm_becomes_a_norm_that_erases_nothing(channels: int, side: int) -> None:
    model = nn.Sequential(nn.Conv2d(1, channels, 1), nn.BatchNorm2d(channels))
    diagnosis = diagnose(model, (1, side, side))
    if channels * side * side == 1:
        assert diagnosis.fixes == ()
        assert diagnosis.left == 1
        return
    new = diagnosis.fixes[0].replacement
    assert isinstance(new, nn.GroupNorm)  # also for maps of one place, of whose last dimension nothing could be told
    size = channels // new.num_groups * side * side
    assert channels % new.num_groups == 0
    assert GROUPS % new.num_groups == 0
    assert new.num_groups == 1 or size >= LEAST
    x = torch.rand(3, channels, side, side)
    assert size < LEAST or bool((new(x) - new(torch.rand_like(x))).abs().max() > 1e-3)


def test_batch_norm_of_rows_without_places_becomes_layer_norm() -> None:
    new = mended(nn.Sequential(nn.Linear(3, 32), nn.BatchNorm1d(32)), (3,))
    assert isinstance(new, nn.LayerNorm)
    assert new.normalized_shape == (32,)
    sequences = mended(nn.Sequential(nn.Conv1d(3, 32, 1), nn.BatchNorm1d(32)), (3, 9))
    assert isinstance(sequences, nn.GroupNorm)


@pytest.mark.parametrize("learns", [True, False])
def test_weights_type_mode_and_numbers_of_a_norm_are_kept(learns: bool) -> None:
    norm = nn.BatchNorm2d(8, eps=0.5).double().requires_grad_(learns).eval()
    nn.init.uniform_(norm.weight)
    model = nn.Sequential(nn.Conv2d(1, 8, 3).double(), norm)
    diagnosis = diagnose(model, (1, 6, 6), torch.float64)
    new = diagnosis.fixes[0].replacement
    assert isinstance(new, nn.GroupNorm)
    assert torch.equal(new.weight, norm.weight)
    assert new.weight.dtype == torch.float64
    assert new.weight.requires_grad is learns
    assert new.eps == 0.5
    assert not new.training
    assert diagnosis.left == 0


def test_a_frozen_or_unaffine_batch_norm_is_mended_too() -> None:
    """Opacus's own fix leaves these in place (1.6.0)."""
    for norm in (nn.BatchNorm2d(4, affine=False), nn.BatchNorm2d(4).requires_grad_(False), nn.SyncBatchNorm(4)):
        new = mended(nn.Sequential(nn.Conv2d(1, 4, 3), norm), (1, 8, 8))
        assert isinstance(new, nn.GroupNorm)


def test_running_statistics_of_instance_norm_go() -> None:
    norm = nn.InstanceNorm1d(3, affine=True, track_running_stats=True)
    new = mended(nn.Sequential(nn.Conv1d(2, 3, 1), norm), (2, 5))
    assert isinstance(new, nn.InstanceNorm1d)
    assert not new.track_running_stats
    assert list(new.buffers()) == []
    assert torch.equal(new.weight, norm.weight)
    assert norm.track_running_stats  # the user's own is left as it was


def test_a_group_norm_that_erases_its_input_is_found_and_mended() -> None:
    model = nn.Sequential(nn.Linear(3, 16), nn.GroupNorm(16, 16), nn.Linear(16, 2))
    assert float(model[1](torch.rand(5, 16)).detach().abs().max()) < 1e-2  # what it is about
    diagnosis = diagnose(model, (3,))
    assert diagnosis.sound
    assert [note.where for note in diagnosis.notes if note.topic == "erased"] == ["1 (GroupNorm)"]
    assert "-  (1): GroupNorm(16, 16" in diagnosis.printed
    assert "+  (1): GroupNorm(1, 16" in diagnosis.printed
    kept = nn.Sequential(nn.Conv1d(3, 16, 1), nn.GroupNorm(16, 16))
    assert not erases(kept[1], observe(kept, generated((3, 9), torch.float32)))


def test_how_groups_were_chosen_is_said_and_true() -> None:
    model = nn.Sequential(nn.Conv2d(1, 48, 1), nn.BatchNorm2d(48), nn.Conv2d(48, 64, 2), nn.BatchNorm2d(64))
    diagnosis = diagnose(model, (1, 2, 2))
    for fix, places in zip(diagnosis.fixes, (4, 1), strict=True):
        new = fix.replacement
        assert isinstance(new, nn.GroupNorm)
        fitting = [
            count
            for count in (1, 2, 4, 8, 16, 32)
            if new.num_channels % count == 0 and new.num_channels // count * places >= 8
        ]
        assert new.num_groups == max(fitting)
        assert "the largest power of two up to 32 that divides the channels" in fix.why
        assert "leaves 8 numbers in each group" in fix.why
        assert fix.document()["why"] == fix.why
    assert " ".join(diagnosis.fixes[0].why.split()) in " ".join(render(diagnosis).split())
    flat = diagnose(nn.Sequential(nn.Linear(3, 16), nn.BatchNorm1d(16), nn.LazyLinear(2)), (3,)).fixes
    assert [fix.why.partition(":")[0] for fix in flat] == ["no groups", ""]


def test_one_call_that_makes_several_layers_becomes_one_call_that_fits_all() -> None:
    scope: dict[str, Callable[[], nn.Module]] = {}
    exec(compile(SOURCE, "there.py", "exec"), scope)  # noqa: S102 - the user's file
    with watching("there.py"):
        model = scope["build"]()
    groups = normalisers(model, observe(model, generated((1, 8, 8), torch.float32)))
    assert list(groups.values()) == [4]  # divides 12 and 48


# -- other layers --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lazy", "plain", "shape"),
    [
        (lambda: nn.LazyLinear(4), nn.Linear(6, 4), (6,)),
        (lambda: nn.LazyConv2d(4, 3), nn.Conv2d(2, 4, 3), (2, 5, 5)),
        (lambda: nn.LazyConvTranspose1d(4, 3), nn.ConvTranspose1d(2, 4, 3), (2, 5)),
    ],
)
def test_a_lazy_layer_gets_its_shape_from_generated_rows(
    lazy: Callable[[], nn.Module], plain: nn.Module, shape: tuple[int, ...]
) -> None:
    model = nn.Sequential(lazy())
    diagnosis = diagnose(model, shape)
    assert diagnosis.left == 0
    assert str(diagnosis.fixes[0].replacement) == str(plain)
    assert isinstance(model[0].weight, nn.parameter.UninitializedParameter)  # the user's own is left as it was


def test_a_lazy_batch_norm_is_two_problems_and_one_fix() -> None:
    diagnosis = diagnose(nn.Sequential(nn.Conv2d(1, 8, 3), nn.LazyBatchNorm2d()), (1, 8, 8))
    assert len(diagnosis.problems) == 2
    assert [type(fix.replacement) for fix in diagnosis.fixes] == [nn.GroupNorm]
    assert diagnosis.left == 0


class First(nn.Module):
    """A recurrent layer that was told nothing of where the batch is."""

    def __init__(self, kind: type[nn.RNNBase], *, batch_first: bool = False) -> None:
        super().__init__()
        self.cell = kind(3, 4, batch_first=batch_first)
        self.head = nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.cell(x)[0].mean(1))


@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM, nn.GRU])
@pytest.mark.parametrize("steps", [4, 7])  # also as many as there are generated rows
def test_a_layer_that_takes_the_batch_for_time_is_named_and_mended(kind: type[nn.RNNBase], steps: int) -> None:
    diagnosis = diagnose(First(kind), (steps, 3))
    assert diagnosis.problems[0].where == f"cell ({kind.__name__})"
    assert "batch_first=True" in str(diagnosis.problems[0].fix)
    assert diagnosis.left == 0
    assert diagnose(First(kind, batch_first=True), (steps, 3)).sound


def test_attention_that_takes_the_batch_for_time_is_named_in_every_layer() -> None:
    model = nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0), 2, enable_nested_tensor=False)
    diagnosis = diagnose(model, (5, 4))
    assert [error.where for error in diagnosis.problems] == [
        "layers.0.self_attn (MultiheadAttention)",
        "layers.1.self_attn (MultiheadAttention)",
    ]
    assert diagnosis.left == 0


def test_a_table_that_rewrites_itself_is_mended() -> None:
    model = nn.Sequential(nn.Embedding(9, 4, max_norm=0.1), nn.Flatten(), nn.Linear(12, 2))
    before = copy.deepcopy(model.state_dict())
    diagnosis = diagnose(model, (3,), torch.int64)
    assert diagnosis.problems[0].where == "0 (Embedding)"
    assert diagnosis.left == 0
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


# -- where rows touch ----------------------------------------------------------------------------------------------


class Around(nn.Module):
    def __init__(self, change: Callable[[torch.Tensor], torch.Tensor], *, last: bool = False) -> None:
        super().__init__()
        self.block = nn.Sequential(nn.Linear(6, 6), nn.Dropout(0.5), nn.Linear(6, 6))
        self.head = nn.Linear(6, 2)
        self.change, self.last = change, last

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.block(x)
        return self.change(self.head(h)) if self.last else self.head(self.change(h))


class Centres(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x - x.mean(0)


@pytest.mark.parametrize("change", [lambda h: h - h.mean(0), lambda h: h.cumsum(0), lambda h: h.flip(0)])
def test_the_first_place_where_rows_touch_is_named(change: Callable[[torch.Tensor], torch.Tensor]) -> None:
    x = generated((6,), torch.float32)
    assert coupling(Around(change), x) == ("the model (Around), before head", None)
    assert coupling(Around(change, last=True), x) == ("the model (Around)", None)


def test_a_layer_that_mixes_rows_itself_is_named() -> None:
    model = nn.Sequential(nn.Linear(6, 6), nn.Sequential(nn.Linear(6, 6), Centres()), nn.Linear(6, 2))
    assert coupling(model, generated((6,), torch.float32)) == ("1.1 (Centres)", model[1][1])
    divided = nn.Sequential(nn.Linear(6, 6))
    divided.append(Around(lambda h: h / len(h)).eval())
    divided[1].block[1].p = 0.0
    assert coupling(divided, generated((6,), torch.float32))[0] == "1 (Around), before 1.head"


def test_observing_leaves_no_hook_and_sees_calls_in_the_order_in_which_they_ended() -> None:
    model = nn.Sequential(nn.Linear(6, 6), nn.ReLU(inplace=True))
    calls = observe(model, generated((6,), torch.float32))
    assert [call.name for call in calls] == ["0", "1", ""]
    assert bool((calls[1].inputs[0] < 0).any())  # a copy from before the layer wrote to it
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in model.modules())
    assert layer_name("", model) == "the model (Sequential)"


# -- the source ----------------------------------------------------------------------------------------------------


def _made(source: str) -> nn.Module:
    scope: dict[str, Callable[[], nn.Module]] = {}
    exec(compile(source, "there.py", "exec"), scope)  # noqa: S102 - the user's file
    with watching("there.py"):
        return scope["build"]()


def test_modules_remember_the_call_that_made_them_also_when_they_are_copied() -> None:
    model = copy.deepcopy(_made(SOURCE))
    norms = [part for part in model.modules() if isinstance(part, nn.BatchNorm2d)]
    sites = {made_at(part) for part in norms}
    assert len(norms) == 2
    assert len(sites) == 1
    site = sites.pop()
    assert site is not None
    line = SOURCE.splitlines()[site.line - 1].encode()
    assert line[site.column : site.end_column] == b"nn.BatchNorm2d(b, momentum=0.2)"
    assert made_at(nn.Linear(1, 1)) is None  # nobody watches any more


@pytest.mark.parametrize(
    ("call", "edit", "expected"),
    [
        ("nn.BatchNorm2d(b)", Edit(("BatchNorm2d",), "GroupNorm", ("4",), "num_features"), "nn.GroupNorm(4, b)"),
        (
            "torch.nn.BatchNorm2d(momentum=1, num_features=é + 1)",
            Edit(("BatchNorm2d",), "GroupNorm", ("4",), "num_features", (("affine", "False"),)),
            "torch.nn.GroupNorm(4, é + 1, affine=False)",
        ),
        ("nn.LazyLinear(3, bias=False)", Edit(("LazyLinear",), "Linear", ("7",)), "nn.Linear(7, 3, bias=False)"),
        ("nn.LSTM(3, 4)", Edit(("LSTM",), keywords=(("batch_first", "True"),)), "nn.LSTM(3, 4, batch_first=True)"),
        (
            "LSTM(3, batch_first=False)",
            Edit(("LSTM",), keywords=(("batch_first", "True"),)),
            "LSTM(3, batch_first=True)",
        ),
        ("norm(b)", Edit(("BatchNorm2d",), "GroupNorm", ("4",), "num_features"), None),  # who knows what norm is
        ("BatchNorm2d(b)", Edit(("BatchNorm2d",), "GroupNorm", ("4",), "num_features"), None),  # not imported
        ("nn.BatchNorm2d(*b)", Edit(("BatchNorm2d",), "GroupNorm", ("4",), "num_features"), None),
        ("nn.BatchNorm2d(**b)", Edit(("BatchNorm2d",), "GroupNorm", ("4",), "num_features"), None),
    ],
)
def test_a_call_is_rewritten_or_left_alone(call: str, edit: Edit, expected: str | None) -> None:
    source = f"# ü\nx = [é, {call}]\n"
    node = next(n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Call))
    site = Site(node.lineno, node.end_lineno or 0, node.col_offset, node.end_col_offset or 0)
    assert rewrite(source, [(site, edit)]) == (None if expected is None else source.replace(call, expected))


def test_a_diff_is_unified_and_empty_where_nothing_changes() -> None:
    assert unified("a\nb\nc\n", "a\nB\nc\n", "old.py", "new.py").splitlines() == [
        "--- old.py",
        "+++ new.py",
        "@@ -1,3 +1,3 @@",
        " a",
        "-b",
        "+B",
        " c",
    ]
    assert unified("a", "b\n", "old.py", "new.py").splitlines()[3:] == ["-a", "\\ No newline at end of file", "+b"]
    assert unified("a\n", "a\n", "old.py", "new.py") == ""
