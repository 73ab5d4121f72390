import pytest
from hypothesis import given
from hypothesis import strategies as st

from pellucid.errors import BadFile
from pellucid.vault import TAG, group_columns

ROLES = st.frozensets(st.sampled_from(["owner", "scientist", "auditor", "reader"]), min_size=1)


def test_columns_with_the_same_readers_share_a_group_and_tags_are_their_own():
    both, one = frozenset({"owner", "scientist"}), frozenset({"owner", "auditor"})
    groups = group_columns({"age": both, "gender": one, "job": both})
    assert [(g.id, g.columns, g.readers) for g in groups] == [
        ("g1", ("age", "job"), both),
        ("g2", ("gender",), one),
        ("tags", (TAG,), both | one),
    ]


@given(st.dictionaries(st.text(min_size=1), ROLES, min_size=1))
def test_every_column_is_in_exactly_one_group_with_its_readers(readers):
    readers.pop(TAG, None)
    if not readers:
        return
    groups = group_columns(readers)
    found = {column: group.readers for group in groups for column in group.columns}
    assert found == {**readers, TAG: frozenset().union(*readers.values())}
    assert sum(len(g.columns) for g in groups) == len(readers) + 1
    data_groups = [g.readers for g in groups[:-1]]
    assert len(set(data_groups)) == len(data_groups), "the coarsest groups: no two have the same readers"


@pytest.mark.parametrize(
    ("readers", "says"),
    [
        ({"age": frozenset()}, 'no role may read column "age"'),
        ({}, "no column"),
        ({TAG: frozenset({"owner"})}, "split tag"),
    ],
)
def test_a_column_without_a_reader_is_refused(readers, says):
    with pytest.raises(BadFile, match=says):
        group_columns(readers)
