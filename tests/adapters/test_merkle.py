"""Is the tree that of RFC 6962, and does a proof show what it says and nothing else?"""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterfoil.adapters.audit import merkle

LEAVES = [merkle.leaf(number, bytes([number % 256]) * 32) for number in range(1, 301)]
SIZES = range(301)


def naive_root(leaves: list[bytes]) -> bytes:
    """MTH of RFC 6962, 2.1, word for word."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = split(len(leaves))
    return sha256(b"\1" + naive_root(leaves[:k]) + naive_root(leaves[k:])).digest()


def naive_path(m: int, leaves: list[bytes]) -> list[bytes]:
    """PATH of 2.1.1."""
    if len(leaves) == 1:
        return []
    k = split(len(leaves))
    if m < k:
        return [*naive_path(m, leaves[:k]), naive_root(leaves[k:])]
    return [*naive_path(m - k, leaves[k:]), naive_root(leaves[:k])]


def naive_proof(m: int, leaves: list[bytes], *, whole: bool = True) -> list[bytes]:
    """SUBPROOF of 2.1.2."""
    if m == len(leaves):
        return [] if whole else [naive_root(leaves)]
    k = split(len(leaves))
    if m <= k:
        return [*naive_proof(m, leaves[:k], whole=whole), naive_root(leaves[k:])]
    return [*naive_proof(m - k, leaves[k:], whole=False), naive_root(leaves[:k])]


def split(size: int) -> int:
    return max(1 << power for power in range(9) if 1 << power < size)


def test_a_leaf_covers_the_position_and_the_hash() -> None:
    said = sha256(b"\0" + (7).to_bytes(8, "big") + b"h" * 32).digest()
    assert merkle.leaf(7, b"h" * 32) == said


def test_the_tree_is_that_of_the_definition_for_every_size() -> None:
    tree = merkle.Tree()
    for size in SIZES:
        expected = naive_root(LEAVES[:size])
        assert (tree.size, tree.root(), merkle.root(LEAVES[:size])) == (size, expected, expected)
        if size < len(LEAVES):
            tree.add(LEAVES[size])


@given(st.lists(st.integers(0, 70), max_size=8))
def test_a_tree_that_grows_in_pieces_is_the_same(pieces: list[int]) -> None:
    tree, leaves = merkle.Tree(), LEAVES * 2
    for piece in pieces:
        before = tree.copy()
        tree.extend(leaves[tree.size : tree.size + piece])
        assert before.root() == naive_root(leaves[: before.size])
    assert tree.size == sum(pieces)
    assert tree.root() == naive_root(leaves[: sum(pieces)])


@given(st.integers(0, 5), st.integers(0, 6), st.integers(0, 3))
def test_a_full_subtree_is_grafted_where_one_begins(before: int, height: int, more: int) -> None:
    tree = merkle.Tree()
    start, end = before << height, (before + 1) << height
    leaves = LEAVES * 2
    tree.extend(leaves[:start])
    tree.graft(height, merkle.full(leaves[start:end]))
    tree.extend(leaves[end : end + more])
    assert tree.root() == naive_root(leaves[: end + more])


def test_a_subtree_is_not_grafted_where_none_begins() -> None:
    tree = merkle.Tree()
    tree.extend(LEAVES[:3])
    with pytest.raises(ValueError, match="height 1 begins behind 3"):
        tree.graft(1, LEAVES[0])


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8, 33, 64, 97, 255, 300])
def test_every_leaf_has_a_proof_that_leads_to_the_root(size: int) -> None:
    leaves = LEAVES[:size]
    root = naive_root(leaves)
    for index in range(size):
        proof = merkle.inclusion_proof(leaves, index)
        assert [*proof] == naive_path(index, leaves)
        assert merkle.root_of_inclusion(leaves[index], index, size, proof) == root


@given(st.data())
def test_a_proof_of_inclusion_shows_nothing_else(data: st.DataObject) -> None:
    size = data.draw(st.integers(2, 300))
    index = data.draw(st.integers(0, size - 1))
    leaves = LEAVES[:size]
    proof, root = merkle.inclusion_proof(leaves, index), naive_root(leaves)
    other = data.draw(st.integers(0, size - 1).filter(lambda one: one != index))
    assert merkle.root_of_inclusion(leaves[other], index, size, proof) != root
    assert merkle.root_of_inclusion(leaves[index], other, size, proof) != root
    assert merkle.root_of_inclusion(leaves[index], index, size, proof[:-1]) is None
    assert merkle.root_of_inclusion(leaves[index], index, size, (*proof, root)) is None
    assert merkle.root_of_inclusion(leaves[index], size, size, proof) is None
    at, bit = data.draw(st.integers(0, len(proof) - 1)), data.draw(st.integers(0, 255))
    bent = list(proof)
    bent[at] = flipped(proof[at], bit)
    assert merkle.root_of_inclusion(leaves[index], index, size, bent) != root


def test_every_earlier_tree_is_shown_to_be_the_beginning_of_every_later_one() -> None:
    roots = [naive_root(LEAVES[:size]) for size in SIZES]
    for total in (0, 1, 2, 3, 7, 8, 9, 64, 100, 255, 256, 300):
        for size in range(total + 1):
            proof = merkle.consistency_proof(LEAVES[:total], size)
            if size:
                assert [*proof] == naive_proof(size, LEAVES[:total])
            assert merkle.is_consistent((size, roots[size]), (total, roots[total]), proof)


@given(st.data())
def test_a_proof_of_consistency_shows_nothing_else(data: st.DataObject) -> None:
    total = data.draw(st.integers(2, 300))
    size = data.draw(st.integers(1, total - 1))
    old, new = naive_root(LEAVES[:size]), naive_root(LEAVES[:total])
    proof = merkle.consistency_proof(LEAVES[:total], size)
    holds = merkle.is_consistent
    bit = data.draw(st.integers(0, 255))
    assert not holds((size, flipped(old, bit)), (total, new), proof)
    assert not holds((size, old), (total, flipped(new, bit)), proof)
    assert not holds((size, old), (total, new), proof[:-1])
    assert not holds((size, old), (total, new), (*proof, new))
    assert not holds((total, old), (size, new), proof)
    at = data.draw(st.integers(0, len(proof) - 1))
    bent = [*proof[:at], flipped(proof[at], bit), *proof[at + 1 :]]
    assert not holds((size, old), (total, new), bent)


@given(st.data())
def test_a_history_written_anew_is_the_continuation_of_none(data: st.DataObject) -> None:
    total = data.draw(st.integers(2, 200))
    size = data.draw(st.integers(1, total - 1))
    at = data.draw(st.integers(0, size - 1))
    forged = [*LEAVES[:at], flipped(LEAVES[at], 0), *LEAVES[at + 1 : total]]
    proof = merkle.consistency_proof(forged, size)
    old, new = (size, naive_root(LEAVES[:size])), (total, naive_root(forged))
    assert not merkle.is_consistent(old, new, proof)


@given(st.data())
def test_roots_of_ranges_are_made_of_leaves_that_come_by_once(data: st.DataObject) -> None:
    total = data.draw(st.integers(1, 300))
    size = data.draw(st.integers(0, total))
    ranges = data.draw(
        st.sampled_from(
            [
                merkle.inclusion_ranges(min(size, total - 1), total),
                merkle.consistency_ranges(size, total),
            ]
        )
    )
    page = data.draw(st.integers(1, 100))
    roots = merkle.Roots(ranges)
    for start in range(0, total, page):
        roots.extend(LEAVES[start : min(start + page, total)])
    assert roots.made() == tuple(naive_root(LEAVES[start:end]) for start, end in ranges)


def test_what_no_tree_has_is_refused() -> None:
    with pytest.raises(ValueError, match="no leaf 3"):
        merkle.inclusion_ranges(3, 3)
    with pytest.raises(ValueError, match="do not begin with 4"):
        merkle.consistency_ranges(4, 3)


def flipped(hash_: bytes, bit: int) -> bytes:
    return bytes(
        byte ^ (1 << bit % 8) if place == bit // 8 else byte for place, byte in enumerate(hash_)
    )
