"""The tree against RFC 6962: published vectors, a naive twin for every proof of every small tree, every flipped bit."""

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pellucid.errors import Misuse, Tampered
from pellucid.log.tree import (
    EMPTY_ROOT,
    Frontier,
    complete_nodes,
    consistency_from,
    consistency_proof,
    inclusion_from,
    inclusion_proof,
    leaf_hash,
    node_hash,
    root,
    verify_consistency,
    verify_inclusion,
)

LEAVES = [leaf_hash(b"%d" % i) for i in range(64)]
OTHER = hashlib.sha256(b"something else").digest()


# -- the naive twin: RFC 6962 section 2.1 to the letter, on lists --------------------------------------------------


def split(n):
    k = 1
    while 2 * k < n:
        k *= 2
    return k


def mth(d):
    if not d:
        return hashlib.sha256(b"").digest()
    if len(d) == 1:
        return d[0]
    k = split(len(d))
    return hashlib.sha256(b"\x01" + mth(d[:k]) + mth(d[k:])).digest()


def path(m, d):
    if len(d) == 1:
        return []
    k = split(len(d))
    return [*path(m, d[:k]), mth(d[k:])] if m < k else [*path(m - k, d[k:]), mth(d[:k])]


def subproof(m, d, b):
    if m == len(d):
        return [] if b else [mth(d)]
    k = split(len(d))
    return [*subproof(m, d[:k], b), mth(d[k:])] if m <= k else [*subproof(m - k, d[k:], False), mth(d[:k])]


SIZES = range(1, 65)


@pytest.mark.parametrize("size", SIZES)
def test_every_inclusion_proof_is_that_of_the_rfc_and_verifies(size):
    leaves = LEAVES[:size]
    top = root(leaves)
    assert top == mth(leaves)
    for index in range(size):
        proof = inclusion_proof(leaves, index)
        assert proof == path(index, leaves)
        verify_inclusion(leaves[index], index, size, proof, top, where="test")


@pytest.mark.parametrize("size", SIZES)
def test_every_consistency_proof_is_that_of_the_rfc_and_verifies(size):
    leaves = LEAVES[:size]
    for old in range(1, size + 1):
        proof = consistency_proof(leaves, old)
        assert proof == subproof(old, leaves, True)
        verify_consistency(old, size, mth(leaves[:old]), mth(leaves), proof, where="test")


def flipped(proof, every):
    """Every proof with one bit flipped: every bit, or one in each byte."""
    for at, one in enumerate(proof):
        for bit in range(0, 256, 1 if every else 8):
            wrong = bytearray(one)
            wrong[bit // 8] ^= 1 << (bit // 8 + bit) % 8
            yield [*proof[:at], bytes(wrong), *proof[at + 1 :]]


@pytest.mark.parametrize("size", [*range(1, 14), 31, 32, 33, 64])
def test_every_flipped_bit_of_a_proof_is_refused(size):
    leaves, every = LEAVES[:size], size <= 13
    top = root(leaves)
    for index in range(size):
        for wrong in flipped(inclusion_proof(leaves, index), every):
            with pytest.raises(Tampered, match="does not lead to the root"):
                verify_inclusion(leaves[index], index, size, wrong, top, where="test")
    for old in range(1, size):
        for wrong in flipped(consistency_proof(leaves, old), every):
            with pytest.raises(Tampered, match="does not lead to both roots"):
                verify_consistency(old, size, root(leaves[:old]), top, wrong, where="test")


@pytest.mark.parametrize("size", range(1, 18))
def test_a_proof_verifies_for_its_own_index_and_size_only(size):
    leaves = LEAVES[:size]
    for index in range(size):
        proof = inclusion_proof(leaves, index)
        for other in range(-1, size + 2):
            if other != index:
                with pytest.raises(Tampered):
                    verify_inclusion(leaves[index], other, size, proof, root(leaves), where="test")
    for old in range(1, size + 1):
        proof = consistency_proof(leaves, old)
        for other in range(-1, size + 2):
            if other != old:
                with pytest.raises(Tampered):
                    verify_consistency(other, size, root(leaves[:old]), root(leaves), proof, where="test")


# -- published vectors ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def published(vectors):
    document = vectors("rfc6962.json")
    hashes = [leaf_hash(bytes.fromhex(leaf)) for leaf in document["leaves"]]
    return document, hashes, [bytes.fromhex(one) for one in document["roots"]]


def proof_of(case):
    return [bytes.fromhex(one) for one in case["proof"]]


def test_roots_are_those_published(published):
    _, hashes, roots = published
    assert [root(hashes[:size]) for size in range(1, 9)] == roots
    assert root([]).hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" == EMPTY_ROOT.hex()


def test_proofs_are_those_published(published):
    document, hashes, roots = published
    for case in document["inclusion"]:
        index, size, proof = case["index"], case["size"], proof_of(case)
        assert inclusion_proof(hashes[:size], index) == proof
        verify_inclusion(hashes[index], index, size, proof, roots[size - 1], where="test")
    for case in document["consistency"]:
        old, new, proof = case["old"], case["new"], proof_of(case)
        assert consistency_proof(hashes[:new], old) == proof
        verify_consistency(old, new, roots[old - 1], roots[new - 1], proof, where="test")


def test_a_log_written_by_go_has_the_roots_its_checkpoints_say(vectors):
    log = vectors("notes.json")["log"]
    hashes = [leaf_hash(leaf.encode()) for leaf in log["leaves"]]
    for note in log["checkpoints"]:
        _, size, top = note.split("\n")[:3]
        assert base64.b64encode(root(hashes[: int(size)])).decode() == top


def test_the_corruptions_of_the_published_tests_are_refused(published):
    document, hashes, roots = published
    for case in document["inclusion"]:
        index, size, proof, top = case["index"], case["size"], proof_of(case), roots[case["size"] - 1]
        leaf = hashes[index]
        probes = [
            (leaf, index - 1, size, proof, top),
            (leaf, index + 1, size, proof, top),
            (leaf, index ^ 2, size, proof, top),
            (leaf, index, size * 2, proof, top),
            (leaf, index, size // 2, proof, top),
            (b"WrongLeaf", index, size, proof, top),
            (b"", index, size, proof, top),
            (OTHER, index, size, proof, top),
            (leaf, index, size, proof, EMPTY_ROOT),
            (leaf, index, size, proof, OTHER),
            (leaf, index, size, proof, b""),
            (leaf, index, size, [*proof, b""], top),
            (leaf, index, size, [*proof, top], top),
            (leaf, index, size, [b"", *proof], top),
            (leaf, index, size, [top, *proof], top),
        ]
        if proof:
            probes.append((leaf, index, size, proof[:-1], top))
        if len(proof) > 1:
            probes.append((leaf, index, size, [proof[0], OTHER, *proof[1:]], top))
        for probe in probes:
            with pytest.raises(Tampered):
                verify_inclusion(*probe, where="test")
    for case in document["consistency"]:
        old, new, proof = case["old"], case["new"], proof_of(case)
        first, last = roots[old - 1], roots[new - 1]
        probes = [
            (old - 1, new, first, last, proof),
            (old + 1, new, first, last, proof),
            (old ^ 2, new, first, last, proof),
            (old, new * 2, first, last, proof),
            (old, new // 2, first, last, proof),
            (old, new, b"WrongRoot", last, proof),
            (old, new, first, b"WrongRoot", proof),
            (old, new, first, last, [*proof, b""]),
            (old, new, first, last, [*proof, first]),
            (old, new, first, last, [*proof, last]),
            (old, new, first, last, [b"", *proof]),
            (old, new, first, last, [first, *proof]),
            (old, new, first, last, [last, *proof]),
        ]
        if proof:
            probes += [
                (old, new, last, first, proof),
                (old, new, first, last, []),
                (old, new, first, last, [proof[0], *proof]),
                (old, new, first, last, proof[:-1]),
            ]
        for probe in probes:
            with pytest.raises(Tampered):
                verify_consistency(*probe, where="test")


# -- edges ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "proof"), [(0, 0, []), (0, 1, []), (0, 8, []), (0, 8, [OTHER]), (-1, 1, []), (2, 1, []), (1, 0, [])]
)
def test_an_empty_or_larger_old_tree_is_refused_whatever_the_proof(old, new, proof):
    with pytest.raises(Tampered, match="no proof can lead"):
        verify_consistency(old, new, EMPTY_ROOT, OTHER, proof, where="test")


@pytest.mark.parametrize(("index", "size"), [(0, 0), (1, 1), (1, 0), (2, 1), (-1, 1), (True, 2), (0, True), (0.0, 1)])
def test_an_index_outside_the_tree_is_refused(index, size):
    with pytest.raises(Tampered):
        verify_inclusion(OTHER, index, size, [], OTHER, where="test")


def test_equal_sizes_need_equal_roots_and_no_proof():
    verify_consistency(1, 1, OTHER, OTHER, [], where="test")
    with pytest.raises(Tampered):
        verify_consistency(1, 1, OTHER, EMPTY_ROOT, [], where="test")
    with pytest.raises(Tampered):
        verify_consistency(1, 1, OTHER, OTHER, [OTHER], where="test")


@pytest.mark.parametrize("wrong", [b"", OTHER[:-1], OTHER + b"\0", OTHER.hex(), bytearray(OTHER), None])
def test_every_hash_has_32_bytes(wrong):
    leaves = LEAVES[:2]
    for leaf, proof, top in [
        (wrong, [LEAVES[1]], root(leaves)),
        (LEAVES[0], [wrong], root(leaves)),
        (OTHER, [], wrong),
    ]:
        with pytest.raises(Tampered, match="32 bytes"):
            verify_inclusion(leaf, 0, 2, proof, top, where="test")


def test_the_error_names_where():
    with pytest.raises(Tampered) as caught:
        verify_inclusion(OTHER, 0, 1, [], EMPTY_ROOT, where="bundle, evidence 3")
    assert caught.value.where == "bundle, evidence 3"


@pytest.mark.parametrize("index", [-1, 3, 4])
def test_a_proof_of_what_is_not_there_is_misuse(index):
    with pytest.raises(Misuse):
        inclusion_proof(LEAVES[:3], index)
    with pytest.raises(Misuse):
        consistency_proof(LEAVES[:3], index if index != 3 else 0)


def test_a_leaf_never_passes_for_a_node():
    left, right = LEAVES[:2]
    assert leaf_hash(left + right) != node_hash(left, right)
    assert leaf_hash(b"\x01" + left + right) != node_hash(left, right)


# -- the fast path beside the twin -----------------------------------------------------------------------------------


@given(st.integers(0, 300), st.data())
def test_a_frontier_is_the_tree(size, data):
    leaves = [leaf_hash(b"%d" % i) for i in range(size)]
    start = data.draw(st.integers(0, size))
    pushed, made = Frontier(), {}
    for leaf in leaves:
        made.update({(level, number): value for level, number, value in pushed.push(leaf)})
    assert pushed.root() == mth(leaves)
    assert len(made) == sum(size >> level for level in range(10))
    for (level, number), value in made.items():
        assert value == mth(leaves[number << level : (number + 1) << level])
    resumed = Frontier(start, lambda level, number: made[level, number])
    for leaf in leaves[start:]:
        resumed.push(leaf)
    assert (resumed.size, resumed.root()) == (size, mth(leaves))


@given(st.integers(1, 300), st.data())
def test_proofs_from_nodes_read_few_of_them(size, data):
    leaves = [leaf_hash(b"%d" % i) for i in range(size)]
    index, old, reads = data.draw(st.integers(0, size - 1)), data.draw(st.integers(1, size)), []
    everything = complete_nodes(leaves)

    def node(level, number):
        reads.append((level, number))
        return everything(level, number)

    assert inclusion_from(node, index, size) == path(index, leaves)
    assert len(reads) <= 2 * size.bit_length()
    reads.clear()
    assert consistency_from(node, old, size) == subproof(old, leaves, True)
    assert len(reads) <= 2 * size.bit_length()


def test_a_frontier_above_size_0_needs_nodes():
    with pytest.raises(Misuse):
        Frontier(3)
