"""`counterfoil audit`: is the log what was written, and proofs of it for others."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from counterfoil.adapters.audit import (
    Audit,
    Checkpoint,
    Consistency,
    Inclusion,
    Report,
    read_proof,
    signing,
)
from counterfoil.adapters.audit.checkpoint import FOLDER, write_whole
from counterfoil.adapters.cli.opening import existing
from counterfoil.adapters.cli.progress import shown
from counterfoil.billing import Billing
from counterfoil.domain.errors import CounterfoilError, Malformed
from counterfoil.projections.progress import Watch

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]


class DoesNotHold(CounterfoilError):
    """What was to be proved is not so."""


def verify(arguments: argparse.Namespace) -> None:
    """Read the whole log, and say whether it holds."""
    with _auditing(arguments) as audit:
        checkpoints = [_checkpoint(arguments, audit, one) for one in arguments.checkpoint or ()]
        since = _checkpoint(arguments, audit, arguments.since) if arguments.since else None
        with _shown(arguments) as watch:
            report = audit.verify(
                checkpoints,
                since=since,
                workers=arguments.workers,
                deep=arguments.deep,
                documents=arguments.documents is not None,
                watch=watch,
            )
    if arguments.json:
        print(json.dumps(report.as_json(), ensure_ascii=False))
    elif report.holds:
        _say(report)
    if report.first is not None:
        place = report.first
        where = f"tenant {place.tenant}, stream {place.stream}, version {place.version}"
        raise DoesNotHold(
            f"position {place.position}"
            + (f" ({where})" if place.stream else "")
            + f": {place.problem}; {report.bad} bad in all"
        )


def _say(report: Report) -> None:
    print(f"{report.facts} facts hold. Root: {report.root}")
    if report.since:
        print(f"Of the first {report.since} only the hashes were read: they are the checkpoint's.")
    if report.rows is not None:
        print(f"{report.rows:,} rows of read models are what the facts make of them.")
    if report.documents is not None:
        print(f"{report.documents:,} documents are the bytes that were recorded.")
    if report.unchecked:
        print(f"{report.unchecked:,} documents could not be checked: {report.why_unchecked}")


def checkpoint(arguments: argparse.Namespace) -> None:
    """Keep the root over all facts, in a file or in the document store."""
    documents = arguments.documents if arguments.store else None
    with (
        Billing.auditing(existing(arguments.database), documents) as audit,
        _shown(arguments) as watch,
    ):
        made = audit.checkpoint(key=arguments.key, watch=watch)
        if arguments.store:
            made = audit.keep(made)
            kept = f"{made.key} of {arguments.documents}"
        else:
            made.save(arguments.out)
            kept = f"{arguments.out}"
    if arguments.json:
        print(json.dumps(made.as_json()))
    else:
        by = ", signed" if made.signature else ""
        print(f"{made.size} facts, root {made.root}{by}, kept in {kept}")


def prove(arguments: argparse.Namespace) -> None:
    """Write a proof that can be checked without a database."""
    if (arguments.position is None) is (arguments.since is None):
        raise Malformed("POSITION", "say a position, or --since an older checkpoint")
    with _auditing(arguments) as audit:
        given = arguments.checkpoint
        of = _checkpoint(arguments, audit, given) if given else None
        if of is None:
            of = audit.checkpoint(key=arguments.key)
        proof: Inclusion | Consistency
        if arguments.since is not None:
            proof = audit.consistency(_checkpoint(arguments, audit, arguments.since), of)
        else:
            proof = audit.prove(arguments.position, of)
    written = json.dumps(proof.as_json(), indent=2, ensure_ascii=True)
    if arguments.out is None:
        print(written)
        return
    write_whole(arguments.out, f"{written}\n".encode())
    print(f"{proof.hold()}; kept in {arguments.out}")


def check_proof(arguments: argparse.Namespace) -> None:
    """Check a proof, which takes no database."""
    try:
        said = json.loads(arguments.file.read_bytes())
    except (OSError, ValueError):
        raise Malformed("proof", f"{arguments.file} is no proof") from None
    proof = read_proof(said, arguments.file)
    proved = proof.hold(_public_key(arguments))
    of = proof.checkpoint if isinstance(proof, Inclusion) else proof.new
    if arguments.json:
        told = {"holds": True, "proved": proved, "checkpoint": of.as_json()}
        print(json.dumps(told, ensure_ascii=False))
        return
    print(f"It holds: {proved}.")
    if not arguments.public_key:
        print(f"Compare the checkpoint with one that you kept: {of.size} facts, root {of.root}")


def keygen(arguments: argparse.Namespace) -> None:
    """Write a new pair of keys."""
    public = arguments.out.with_suffix(".pub.pem")
    said = signing.make_keys(arguments.out, public)
    print(f"{arguments.out} signs: keep it secret. {public} checks: give it to auditors.")
    print(f"Public key: {said}")


@contextmanager
def _shown(arguments: argparse.Namespace) -> Iterator[Watch]:
    """A bar on a terminal, and nothing elsewhere: what is asked for is the answer."""
    if arguments.json or not sys.stderr.isatty():
        yield lambda _: None
    else:
        with shown(arguments) as watch:
            yield watch


def _auditing(arguments: argparse.Namespace) -> AbstractContextManager[Audit]:
    return Billing.auditing(existing(arguments.database), arguments.documents)


def _checkpoint(arguments: argparse.Namespace, audit: Audit, where: str) -> Checkpoint:
    """One that was kept in a file, or under a key of the document store; signed, if that is asked
    for.
    """
    stored = where.startswith(f"{FOLDER}/") and not Path(where).exists()
    found = audit.kept(where) if stored else Checkpoint.load(Path(where))
    key = _public_key(arguments)
    if key is not None:
        found.hold_signed_by(key)
    return found


def _public_key(arguments: argparse.Namespace) -> signing.PublicKey | None:
    return signing.read_public_key(arguments.public_key) if arguments.public_key else None


# --- what may be asked --------------------------------------------------------------------


def add(verbs: Commands, add_database: Callable[[argparse.ArgumentParser], None]) -> None:
    """Teach the command line these verbs."""
    for adds in (_add_verify, _add_checkpoint, _add_prove):
        parser = adds(verbs)
        add_database(parser)
        parser.add_argument("--json", action="store_true", help="print JSON")
    _add_check_proof(verbs)
    _add_keygen(verbs)


def _add_verify(verbs: Commands) -> argparse.ArgumentParser:
    parser = verbs.add_parser(
        "verify",
        help="make every hash again and compare",
        description="Read every fact once and make every hash again: the chain of every stream, "
        "the order of the log, versions and numbers without gaps, types that can be read. Names "
        "the first bad position and how many there are. A cut-off end, or a history that was "
        "written anew as a whole, shows only against a checkpoint that was kept elsewhere.",
    )
    parser.add_argument(
        "--checkpoint",
        action="append",
        metavar="FILE",
        help="compare with this checkpoint as well: a file, or a key of --documents such as "
        "checkpoints/9-0123456789ab.json. Said again, the first that does not fit tells where",
    )
    parser.add_argument(
        "--since",
        metavar="FILE",
        help="go on behind a checkpoint that was verified before. Of the facts before it only the "
        "hashes are read and proved to be the same; what they say is not compared with these "
        "hashes again, so a body that was changed under an old hash is found by a full verify "
        "alone",
    )
    parser.add_argument(
        "--workers", type=int, default=1, metavar="N", help="processes to use (default: 1)"
    )
    parser.add_argument(
        "--deep",
        action="store_true",
        help="also decode every body in full, and compare read models with what the facts make",
    )
    parser.add_argument(
        "--documents",
        metavar="PLACE",
        help="also fetch every stored document from this folder or s3://bucket/prefix, and compare "
        "it with the SHA-256 that was recorded",
    )
    _add_public_key(parser, "refuse a checkpoint that the owner of this key did not sign")
    parser.set_defaults(run=verify)
    return parser


def _add_checkpoint(verbs: Commands) -> argparse.ArgumentParser:
    parser = verbs.add_parser(
        "checkpoint",
        help="keep the root over all facts",
        description="Keep the Merkle root over all facts, with their number and the time, in a "
        "file or in the document store. Keep it where nobody who can change the database can "
        "change it, or sign it: then nobody can make another.",
    )
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--out", type=Path, metavar="FILE", help="the file to write")
    where.add_argument(
        "--store",
        action="store_true",
        help="keep it in --documents as checkpoints/SIZE-ROOT.json, locked where the store locks",
    )
    parser.add_argument(
        "--documents",
        default=os.environ.get("COUNTERFOIL_DOCUMENTS", "documents"),
        metavar="PLACE",
        help="a folder, or s3://bucket/prefix (default: COUNTERFOIL_DOCUMENTS, or %(default)s)",
    )
    _add_key(parser)
    parser.set_defaults(run=checkpoint)
    return parser


def _add_prove(verbs: Commands) -> argparse.ArgumentParser:
    parser = verbs.add_parser(
        "prove",
        help="write a proof that others check without the database",
        description="Prove that one fact is among those of a checkpoint, or with --since that the "
        "log has only grown since an older checkpoint. The proof is one JSON file with all that "
        "it takes to check it; `counterfoil audit check-proof` does.",
    )
    parser.add_argument("position", nargs="?", type=int, metavar="POSITION", help="of the fact")
    parser.add_argument(
        "--since", metavar="FILE", help="prove instead that the log begins with all of this one"
    )
    parser.add_argument(
        "--checkpoint",
        metavar="FILE",
        help="prove it of this checkpoint (default: of one made now)",
    )
    parser.add_argument(
        "--documents", metavar="PLACE", help="where checkpoints/… lie that are named here"
    )
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="the file to write (default: standard output)"
    )
    _add_key(parser)
    _add_public_key(parser, "refuse checkpoints that the owner of this key did not sign")
    parser.set_defaults(run=prove)
    return parser


def _add_check_proof(verbs: Commands) -> None:
    parser = verbs.add_parser(
        "check-proof",
        help="check a proof; takes no database",
        description="Make every hash of a proof again. It says which checkpoint it leads to; that "
        "this is the right one shows by its signature, or by one that you kept.",
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="what `audit prove` wrote")
    _add_public_key(parser, "also demand that the owner of this key signed the checkpoint")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=check_proof)


def _add_keygen(verbs: Commands) -> None:
    parser = verbs.add_parser(
        "keygen",
        help="make a pair of keys that sign and check checkpoints",
        description="Make an Ed25519 key that signs checkpoints, and beside it FILE.pub.pem, which "
        "checks them. Neither is written over another.",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("checkpoints.pem"),
        metavar="FILE",
        help="where the secret key goes (default: %(default)s)",
    )
    parser.set_defaults(run=keygen)


def _add_key(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--key",
        type=Path,
        default=os.environ.get("COUNTERFOIL_SIGNING_KEY"),
        metavar="FILE",
        help="sign with this Ed25519 key, a PEM file (default: COUNTERFOIL_SIGNING_KEY)",
    )


def _add_public_key(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument("--public-key", type=Path, metavar="FILE", help=what)
