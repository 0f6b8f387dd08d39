"""Is the log what was written? Every row is read once, in order, and every hash made again.

Two things a chain of hashes alone cannot show: that its end was cut off, and that all of it was
written anew. A checkpoint kept elsewhere shows both: it is the root of a Merkle tree over all rows
(RFC 6962), made again from the same number of rows and compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC
from itertools import pairwise
from pathlib import Path

from counterfoil.adapters.audit.checkpoint import Checkpoint
from counterfoil.adapters.audit.merkle import Tree
from counterfoil.adapters.audit.numbers import Numbers
from counterfoil.adapters.audit.papers import Papers
from counterfoil.adapters.audit.proofs import (
    Consistency,
    Inclusion,
    prove_consistency,
    prove_inclusion,
)
from counterfoil.adapters.audit.report import Broken, Found, Report
from counterfoil.adapters.audit.signing import SigningKey, read_signing_key
from counterfoil.adapters.audit.walk import (
    HEIGHT,
    LEAF,
    PAGE,
    Part,
    Walk,
    Walked,
    leaves_of,
    pages,
)
from counterfoil.adapters.event_store.recorder import FactsRecorder
from counterfoil.domain.errors import CorruptHistory, Malformed, StorageNotConfigured
from counterfoil.domain.ports import Clock, DocumentStore
from counterfoil.projections.keeping import Projections
from counterfoil.projections.progress import Progress, Watch


class Audit:
    """Proves the log, or names where it does not hold."""

    def __init__(
        self,
        log: FactsRecorder,
        clock: Clock,
        projections: Projections,
        documents: DocumentStore,
    ) -> None:
        self._log = log
        self._clock = clock
        self._projections = projections
        self._documents = documents

    def size(self) -> int:
        """How many facts there are."""
        return int(self._log.max_notification_id() or 0)

    def checkpoint(
        self, *, key: SigningKey | Path | str | None = None, watch: Watch = lambda _: None
    ) -> Checkpoint:
        """The root over all facts there are now, to be kept where nobody can change it; signed,
        with a `key` or the one in a PEM file. It is of the hashes as they stand: whether they are
        right is for `verify` to say.
        """
        secret = read_signing_key(key) if isinstance(key, str | Path) else key
        tree, end = Tree(), self.size()
        self._read(tree, Part(0, end), "leaves", watch)
        now = self._clock().astimezone(UTC)
        made = Checkpoint(tree.size, tree.root().hex(), now, self._identity())
        return made if secret is None else made.signed(secret)

    def keep(self, checkpoint: Checkpoint) -> Checkpoint:
        """Keep a checkpoint in the document store, under a key of its own; what is kept there."""
        return checkpoint.store(self._documents)

    def kept(self, key: str) -> Checkpoint:
        """A checkpoint that is kept in the document store."""
        return Checkpoint.fetch(self._documents, key)

    def verify(
        self,
        checkpoint: Checkpoint | Sequence[Checkpoint] | None = None,
        *,
        since: Checkpoint | None = None,
        workers: int = 1,
        deep: bool = False,
        documents: bool = False,
        watch: Watch = lambda _: None,
    ) -> Report:
        """Read every row as far as the present end once, and make its hash again.

        Looks at the chain of every stream, the order of the log, versions and numbers without
        gaps, and whether every type can be read. With a `checkpoint`, the log as it was then is
        compared too; with several, what was changed lies between the last that fits and the first
        that does not. With `since`, only the hashes of the facts before that checkpoint are read:
        that these are the same is proved by its root, that their bodies are is not.

        `deep` also decodes every body in full and compares read models with the log; `documents`
        compares stored documents with the SHA-256 that was recorded. What is found does not depend
        on the number of `workers`, which are processes of their own.
        """
        if type(workers) is not int or workers < 1:
            raise Malformed("workers", "must be 1 or more")
        if documents and not self._documents.persists:
            raise StorageNotConfigured("documents are not kept here; name their folder or bucket")
        end, found = self.size(), Found()
        start = 0 if since is None else since.size
        known = [*_several(checkpoint), *_several(since)]
        if deep:
            self._projections.check()
        tree = _Marked(one.size for one in known)
        if start:
            self._read(tree, Part(0, min(start, end)), "leaves", watch)
        walks = self._walks(Part(start, end), workers, watch, deep=deep) if start <= end else []
        for part, walked in walks:
            self._graft(tree, part, walked)
            if walked.found.first is not None:
                found.add(walked.found.first, walked.found.bad)
        for broken in _unmatched(walked for _, walked in walks):
            found.add(broken)
        self._compare(known, tree, found)
        rows = self._compare_rows(end, found, watch) if deep else None
        papers, away, why = 0, 0, None
        if documents:
            papers, away, why = self._compare_documents(Part(start, end), found, watch)
        return Report(
            tree.size,
            tree.root().hex(),
            found.first,
            found.bad,
            since=min(start, end),
            rows=rows,
            documents=papers if documents else None,
            unchecked=away,
            why_unchecked=why,
        )

    def prove(self, position: int, checkpoint: Checkpoint | None = None) -> Inclusion:
        """The proof that the fact at a position is one of those of a checkpoint, or of one made
        now. `IntegrityFailed` if the log no longer fits the checkpoint.
        """
        return prove_inclusion(self._log, position, checkpoint or self.checkpoint())

    def consistency(self, old: Checkpoint, new: Checkpoint | None = None) -> Consistency:
        """The proof that the log of a checkpoint, or as it is now, begins with all of an older
        one. `IntegrityFailed` if it does not.
        """
        return prove_consistency(self._log, old, new or self.checkpoint())

    # --- reading --------------------------------------------------------------------------

    def _read(self, tree: Tree, part: Part, phase: str, watch: Watch) -> None:
        """Have the leaves of a part in a tree, without a look at anything but hashes."""
        first = tree.size
        for rows in pages(self._log, part, LEAF):
            tree.extend(leaves_of(rows))
            watch(Progress(phase, tree.size - first, part.until - part.after))

    def _walks(
        self, part: Part, workers: int, watch: Watch, *, deep: bool
    ) -> Sequence[tuple[Part, Walked]]:
        def seen(done: int) -> None:
            watch(Progress("verify", done, part.until - part.after))

        parts = self._cut(part, workers)
        if len(parts) == 1:
            return [(part, Walk(self._log, part, deep=deep).run(seen))]
        if self._log.url == ":memory:":
            raise Malformed("workers", "must be 1: no other process sees a database in memory")
        # It runs as a program too, which must not be imported before.
        from counterfoil.adapters.audit.workers import walk_apart

        return [*zip(parts, walk_apart(self._log.url, parts, seen, deep=deep), strict=True)]

    def _cut(self, part: Part, count: int) -> list[Part]:
        """About as many parts, cut behind facts that are there, where a page of the tree ends."""
        step = -(-(part.until - part.after) // count)
        ends = []
        for number in range(1, count):
            about = (part.after + number * step) // PAGE * PAGE
            (found,) = self._log.plain(
                "SELECT max(position) FROM facts WHERE position <= :about", {"about": about}
            )
            ends += [end for end in found if end is not None and part.after < end < part.until]
        places = [part.after, *sorted(set(ends)), part.until]
        return [Part(*ends) for ends in pairwise(places)]

    def _graft(self, tree: _Marked, part: Part, walked: Walked) -> None:
        """Have the leaves of a walk in the tree. Those of a part that does not begin where a page
        of the tree does, because facts are missing before it, are read again.
        """
        if walked.pages and (tree.size + len(walked.lead)) % PAGE:
            self._read(tree, part, "leaves", lambda _: None)
            return
        tree.extend(walked.lead)
        for page in walked.pages:
            if tree.is_marked_within(PAGE):
                tree.extend(self._leaves(tree.size))
            else:
                tree.graft(HEIGHT, page)
        tree.extend(walked.leaves)

    def _leaves(self, index: int) -> list[bytes]:
        """The leaves of the page that begins at this one."""
        rows = self._log.plain(
            f"SELECT {LEAF} FROM facts ORDER BY position LIMIT :page OFFSET :index",
            {"page": PAGE, "index": index},
        )
        return leaves_of(rows)

    # --- what is compared -----------------------------------------------------------------

    def _compare(self, checkpoints: Sequence[Checkpoint], tree: _Marked, found: Found) -> None:
        """Find the first checkpoint that the log does not fit; later ones cannot fit either."""
        held = 0
        for one in sorted(checkpoints, key=lambda one: one.size):
            problem = self._unlike(one, tree, held)
            if problem is not None:
                position = min(tree.size + 1, one.size)
                found.add(Broken(position, "", "", 0, problem))
                return
            held = one.size

    def _unlike(self, one: Checkpoint, tree: _Marked, held: int) -> str | None:
        if tree.size < one.size:
            return f"{one.size - tree.size} facts are missing at the end, by the checkpoint"
        if tree.roots[one.size] == one.root:
            return None
        if one.log is not None and one.log != self._identity():
            return "the first fact is not that of the checkpoint: is it one of another log?"
        if held:
            return (
                f"the first {one.size} facts are not those of the checkpoint; as far as position"
                f" {held} they are"
            )
        return f"the first {one.size} facts are not those of the checkpoint"

    def _compare_rows(self, end: int, found: Found, watch: Watch) -> int:
        """Compare read models with the log, and say how many rows there are."""
        try:
            verified = self._projections.verify(
                watch=lambda done, total: watch(Progress("read models", done, total))
            )
        except CorruptHistory as error:
            position = error.position or end
            found.add(Broken(position, "", error.stream, 0, f"read models stop here: {error}"))
            return 0
        if verified.differences:
            # Without the values, which may be personal data; `projections verify` shows them.
            first = verified.differences[0]
            where = ", ".join(f"{name} {value}" for name, value in first.key.items())
            what = "the row" if first.column is None else first.column
            problem = f"read model {first.table}: {where}: {what} is not what the facts make it"
            found.add(Broken(verified.position, "", "", 0, problem), verified.count)
        return verified.rows

    def _compare_documents(
        self, part: Part, found: Found, watch: Watch
    ) -> tuple[int, int, str | None]:
        """Compare stored documents; how many, how many nobody could look at, and why not."""
        papers = Papers(self._log, self._documents, part)
        total, done, away, why = papers.count(), 0, 0, None
        for done, compared in enumerate(papers.compare(), start=1):
            if compared.broken is not None:
                found.add(compared.broken)
            if compared.away is not None:
                away, why = away + 1, why or compared.away
            watch(Progress("documents", done, total))
        return done - away, away, why

    def _identity(self) -> str | None:
        """What a log is told from others by: the hash of its first fact."""
        found = self._log.plain("SELECT hash FROM facts ORDER BY position LIMIT 1", {})
        return bytes(found[0][0]).hex() if found else None


class _Marked(Tree):
    """A tree that remembers the roots that it had at some sizes."""

    def __init__(self, sizes: Iterable[int]) -> None:
        super().__init__()
        self._sizes = frozenset(sizes)
        self.roots: dict[int, str] = {}
        self._remember()

    def is_marked_within(self, count: int) -> bool:
        """Whether one of the sizes lies within the next so many leaves."""
        return any(self.size < size < self.size + count for size in self._sizes)

    def extend(self, leaves: Sequence[bytes]) -> None:
        first = self.size
        cuts = sorted(size - first for size in self._sizes if first < size < first + len(leaves))
        for start, end in pairwise([0, *cuts, len(leaves)]):
            super().extend(leaves[start:end])
            self._remember()

    def graft(self, height: int, root_: bytes) -> None:
        super().graft(height, root_)
        self._remember()

    def _remember(self) -> None:
        if self.size in self._sizes:
            self.roots[self.size] = self.root().hex()


def _several(given: Checkpoint | Sequence[Checkpoint] | None) -> Sequence[Checkpoint]:
    if given is None:
        return ()
    return (given,) if isinstance(given, Checkpoint) else given


def _unmatched(walks: Iterable[Walked]) -> Iterator[Broken]:
    """What is wrong with numbers and documents of which no walk saw both halves."""
    halves = Numbers(lambda _tenant, _stream: None)
    for walked in walks:
        for document, given in walked.given.items():
            if problem := halves.match(document, given=given):
                yield Broken(*given.place, problem)
        for document, said in walked.said.items():
            if problem := halves.match(document, said=said):
                yield Broken(*said.place, problem)
    yield from halves.left()
