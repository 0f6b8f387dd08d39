"""What does a bucket do when S3 is busy, breaks, refuses, or answers something else than it stored?

A real client speaks HTTP with a server that is as strict as S3 and fails as a test asks it to.
"""

from __future__ import annotations

import base64
import hashlib
import subprocess
import sys
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from werkzeug.http import parse_options_header

from counterfoil.adapters.storage.s3 import S3Store
from counterfoil.domain.errors import (
    Conflict,
    IntegrityFailed,
    Malformed,
    ObjectNotFound,
    StorageNotConfigured,
    Unavailable,
)
from counterfoil.domain.ports import Label
from support.s3 import (
    ACCESS_KEY,
    CREDENTIALS,
    SECRET_KEY,
    CutAnswer,
    DamageBody,
    FlipBit,
    HangUp,
    Late,
    LoseAnswer,
    Refuse,
    StopReading,
    serving,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from support.s3 import S3, Fault

KEY = "acme/invoices/in_1.pdf"
LABEL = Label(media_type="application/pdf", seller="default", file_name="INV-2026-0001.pdf")
PDF = b"%PDF-1.7\n" + bytes(range(256)) * 100
SLOW_DOWN = Refuse(503, "SlowDown")


@pytest.fixture(scope="module")
def server() -> Iterator[S3]:
    with serving() as s3:
        yield s3


@pytest.fixture
def s3(server: S3, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3]:
    """The server, working well, and an environment with our credentials for it."""
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    yield server
    server.mend()


@pytest.fixture
def bucket(s3: S3) -> str:
    return s3.bucket()


@pytest.fixture
def store(s3: S3, bucket: str) -> S3Store:
    made = S3Store(bucket, "documents", client=s3.client)
    s3.seen.clear()
    return made


@pytest.fixture(scope="module")
def hasty(server: S3) -> S3Store:
    """A store that waits for an answer for a moment only."""
    with pytest.MonkeyPatch.context() as environment:
        for name, value in CREDENTIALS.items():
            environment.setenv(name, value)
        return S3Store(server.bucket(), endpoint=server.url, read_s=0.4)


def stored(s3: S3, bucket: str, key: str = f"documents/{KEY}") -> Mapping[str, Any]:
    """What S3 says of an object, without its body."""
    answer: Mapping[str, Any] = s3.client.head_object(
        Bucket=bucket, Key=key, ChecksumMode="ENABLED"
    )
    return answer


def is_empty(s3: S3, bucket: str) -> bool:
    s3.mend()
    return "Versions" not in s3.client.list_object_versions(Bucket=bucket)


# --- what is stored -------------------------------------------------------------------------


def test_a_document_is_stored_encrypted_with_its_checksum_its_type_and_its_name(
    s3: S3, bucket: str, store: S3Store
) -> None:
    store.put(KEY, PDF, LABEL)
    digest = hashlib.sha256(PDF)
    answer = stored(s3, bucket)
    assert answer["ServerSideEncryption"] == "AES256"
    assert answer["ChecksumSHA256"] == base64.b64encode(digest.digest()).decode()
    assert answer["Metadata"] == {"sha256": digest.hexdigest()}
    assert answer["ContentType"] == "application/pdf"
    assert answer["ContentDisposition"] == 'attachment; filename="INV-2026-0001.pdf"'
    assert "ObjectLockMode" not in answer
    (put, _) = s3.seen
    assert put.headers["if-none-match"] == "*"
    assert put.headers["x-amz-checksum-sha256"] == answer["ChecksumSHA256"]


def test_a_key_of_kms_encrypts_with_a_key_of_the_bucket(s3: S3, bucket: str) -> None:
    S3Store(bucket, kms_key="alias/invoices", client=s3.client).put(KEY, PDF, LABEL)
    answer = stored(s3, bucket, KEY)
    assert answer["ServerSideEncryption"] == "aws:kms"
    assert answer["SSEKMSKeyId"] == "alias/invoices"
    assert answer["BucketKeyEnabled"]


@pytest.mark.parametrize(
    ("prefix", "at"),
    [("", ""), ("/", ""), ("a", "a/"), ("/a/b%20c/", "a/b%20c/")],
)
def test_documents_stand_below_the_prefix(s3: S3, bucket: str, prefix: str, at: str) -> None:
    store = S3Store(bucket, prefix, client=s3.client)
    store.put(KEY, PDF, LABEL)
    (found,) = s3.client.list_objects_v2(Bucket=bucket)["Contents"]
    assert found["Key"] == at + KEY
    assert store.get(KEY) == PDF
    with pytest.raises(ObjectNotFound):
        S3Store(bucket, "b", client=s3.client).get(KEY)


# --- S3 is busy, slow, or breaks ------------------------------------------------------------


@pytest.mark.parametrize(
    "faults",
    [
        (Refuse(500, "InternalError"), Refuse(503, "ServiceUnavailable")),
        (Refuse(400, "RequestTimeout"), HangUp()),
        (HangUp(), HangUp()),
    ],
    ids=["errors", "timeout", "resets"],
)
def test_two_failures_are_got_over(s3: S3, store: S3Store, faults: tuple[Fault, ...]) -> None:
    s3.fail(*faults)
    store.put(KEY, PDF, LABEL)
    s3.fail(*faults)
    assert store.get(KEY) == PDF


def test_an_answer_that_does_not_come_in_time_is_asked_for_again(s3: S3, hasty: S3Store) -> None:
    hasty.put(KEY, PDF, LABEL)
    s3.fail(Late(1))
    assert hasty.get(KEY) == PDF


def test_slowing_down_twice_is_got_over(s3: S3, store: S3Store) -> None:
    s3.fail(SLOW_DOWN, SLOW_DOWN)
    store.put(KEY, PDF, LABEL)
    assert store.get(KEY) == PDF


@pytest.mark.parametrize(
    "fault",
    [SLOW_DOWN, Refuse(500, "InternalError"), HangUp(), Late(1), Refuse(400, "RequestTimeout")],
    ids=["slow down", "errors", "resets", "late", "timeout"],
)
def test_failing_for_ever_is_unavailable_after_three_attempts(
    s3: S3, store: S3Store, hasty: S3Store, fault: Fault
) -> None:
    asked = hasty if isinstance(fault, Late) else store
    s3.seen.clear()
    s3.fail_always(fault)
    with pytest.raises(Unavailable, match="the S3 bucket test-"):
        asked.get(KEY)
    assert len(s3.seen) == (0 if isinstance(fault, HangUp) else 3)


def test_a_server_that_is_not_there_is_unavailable(s3: S3, bucket: str) -> None:
    store = S3Store(bucket, endpoint="http://127.0.0.1:9")
    for ask in (lambda: store.put(KEY, PDF, LABEL), lambda: store.get(KEY)):
        with pytest.raises(Unavailable, match="cannot be reached"):
            ask()


def test_no_attempt_begins_after_the_deadline_of_the_call(s3: S3, bucket: str) -> None:
    store = S3Store(bucket, endpoint=s3.url, read_s=0.2, deadline_s=0.3)
    s3.seen.clear()
    s3.fail_always(Late(0.4))
    with pytest.raises(Unavailable, match=r"within 0\.3 seconds"):
        store.put(KEY, PDF, LABEL)
    assert len(s3.seen) <= 2


# --- a put in the middle of which something happens -----------------------------------------


def test_a_put_whose_answer_was_lost_is_a_success(s3: S3, bucket: str, store: S3Store) -> None:
    s3.fail(LoseAnswer())
    store.put(KEY, PDF, LABEL)
    assert [(one.method, one.key) for one in s3.seen] == [
        ("PUT", f"documents/{KEY}"),
        ("PUT", f"documents/{KEY}"),  # refused, for the key is taken: by ourselves
        ("HEAD", f"documents/{KEY}"),
    ]
    assert store.get(KEY) == PDF


def test_a_put_whose_every_answer_was_lost_is_unavailable_and_may_be_put_again(
    s3: S3, bucket: str, store: S3Store
) -> None:
    s3.fail_always(LoseAnswer())
    with pytest.raises(Unavailable):
        store.put(KEY, PDF, LABEL)
    s3.mend()
    store.put(KEY, PDF, LABEL)
    assert store.get(KEY) == PDF


def test_a_lost_answer_does_not_hide_a_conflict(s3: S3, store: S3Store) -> None:
    store.put(KEY, b"another", LABEL)
    s3.fail(LoseAnswer())
    with pytest.raises(Conflict, match="keeps it"):
        store.put(KEY, PDF, LABEL)
    assert store.get(KEY) == b"another"


def test_what_another_program_stored_is_compared_as_it_is(
    s3: S3, bucket: str, store: S3Store
) -> None:
    s3.client.put_object(Bucket=bucket, Key=f"documents/{KEY}", Body=PDF)
    assert "ChecksumSHA256" not in stored(s3, bucket)
    store.put(KEY, PDF, LABEL)
    with pytest.raises(Conflict):
        store.put(KEY, PDF[::-1], LABEL)


def test_a_put_that_meets_another_is_begun_again(s3: S3, store: S3Store) -> None:
    s3.fail(*[Refuse(409, "ConditionalRequestConflict")] * 2)
    store.put(KEY, PDF, LABEL)
    assert store.get(KEY) == PDF


def test_a_put_that_meets_others_for_ever_is_unavailable(
    s3: S3, bucket: str, store: S3Store
) -> None:
    s3.fail_always(Refuse(409, "ConditionalRequestConflict"))
    with pytest.raises(Unavailable):
        store.put(KEY, PDF, LABEL)
    assert len(s3.seen) == 4
    assert is_empty(s3, bucket)


def test_a_document_damaged_on_its_way_is_not_stored(s3: S3, bucket: str, store: S3Store) -> None:
    s3.fail(DamageBody())
    with pytest.raises(Unavailable, match="XAmzContentSHA256Mismatch"):
        store.put(KEY, PDF, LABEL)
    assert is_empty(s3, bucket)


def test_the_server_of_these_tests_refuses_a_wrong_checksum(s3: S3, bucket: str) -> None:
    with pytest.raises(s3.client.exceptions.ClientError, match="BadDigest"):
        s3.client.put_object(
            Bucket=bucket,
            Key=KEY,
            Body=PDF,
            ChecksumSHA256=base64.b64encode(hashlib.sha256(b"another").digest()).decode(),
        )
    assert is_empty(s3, bucket)


_PUT = """
import sys
from counterfoil.adapters.storage.s3 import S3Store
from counterfoil.domain.ports import Label

S3Store(sys.argv[1], endpoint=sys.argv[2]).put(
    "in_1", b"x" * 30_000_000, Label("application/pdf", "default", "a.pdf")
)
"""


def test_a_process_that_is_killed_while_sending_leaves_nothing_under_the_key(
    s3: S3, bucket: str
) -> None:
    half = StopReading()
    s3.fail(half)
    with subprocess.Popen([sys.executable, "-c", _PUT, bucket, s3.url]) as client:
        assert half.reached.wait(30)
        client.kill()
    half.go_on.set()
    assert half.read.wait(30)
    assert is_empty(s3, bucket)
    store = S3Store(bucket, client=s3.client)
    store.put("in_1", PDF, LABEL)
    assert store.get("in_1") == PDF


# --- a get that is answered badly -----------------------------------------------------------


def test_an_answer_that_is_cut_is_read_again(s3: S3, store: S3Store) -> None:
    store.put(KEY, PDF, LABEL)
    s3.fail(CutAnswer(), CutAnswer())
    assert store.get(KEY) == PDF


def test_an_answer_that_is_cut_each_time_is_unavailable(s3: S3, store: S3Store) -> None:
    store.put(KEY, PDF, LABEL)
    s3.seen.clear()
    s3.fail_always(CutAnswer())
    with pytest.raises(Unavailable, match="cut its answer off"):
        store.get(KEY)
    assert len(s3.seen) == 3


def test_a_bit_that_is_wrong_is_an_alarm_and_not_asked_for_again(s3: S3, store: S3Store) -> None:
    store.put(KEY, PDF, LABEL)
    s3.seen.clear()
    s3.fail(FlipBit())
    with pytest.raises(IntegrityFailed, match="SHA-256"):
        store.get(KEY)
    assert len(s3.seen) == 1


def test_a_bit_that_is_wrong_is_noticed_where_the_service_keeps_no_checksum(
    s3: S3, bucket: str, store: S3Store
) -> None:
    s3.client.put_object(
        Bucket=bucket,
        Key=f"documents/{KEY}",
        Body=PDF[::-1],
        Metadata={"sha256": hashlib.sha256(PDF).hexdigest()},
    )
    with pytest.raises(IntegrityFailed, match="SHA-256"):
        store.get(KEY)


# --- S3 does not let us in ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Refuse(403, "AccessDenied"), "s3:PutObject"),
        (Refuse(400, "ExpiredToken"), "renew"),
        (Refuse(403, "RequestTimeTooSkewed"), "set the clock"),
        (Refuse(400, "AuthorizationHeaderMalformed"), "region"),
        (Refuse(400, "KMS.DisabledException"), "kms_key"),
        (Refuse(501, "NotImplemented"), "If-None-Match"),
        (Refuse(400, "SomethingNew"), "SomethingNew"),
    ],
    ids=lambda value: value.code if isinstance(value, Refuse) else "",
)
def test_what_only_an_operator_can_mend_is_said_to_him(
    s3: S3, bucket: str, store: S3Store, fault: Fault, words: str
) -> None:
    s3.fail_always(fault)
    for ask in (
        lambda: store.put(KEY, PDF, LABEL),
        lambda: store.get(KEY),
    ):
        with pytest.raises(StorageNotConfigured, match=words) as refused:
            ask()
        assert bucket in str(refused.value)
        assert ACCESS_KEY not in str(refused.value)


def test_a_bucket_that_is_not_there_is_named(s3: S3) -> None:
    store = S3Store("no-such-bucket", client=s3.client)
    for ask in (
        lambda: store.put(KEY, PDF, LABEL),
        lambda: store.get(KEY),
        lambda: store.delete(KEY),
    ):
        with pytest.raises(StorageNotConfigured, match=r"no-such-bucket does not exist"):
            ask()


@pytest.mark.parametrize(
    ("access_key", "secret_key"),
    [(ACCESS_KEY, "wrong"), ("AKIASOMEBODYELSE0001", SECRET_KEY)],
    ids=["secret", "key"],
)
def test_wrong_credentials_are_said_and_not_shown(
    s3: S3, bucket: str, access_key: str, secret_key: str
) -> None:
    store = S3Store(bucket, client=s3.client_with(access_key, secret_key))
    for ask in (lambda: store.put(KEY, PDF, LABEL), lambda: store.get(KEY)):
        with pytest.raises(StorageNotConfigured, match="does not accept our credentials") as said:
            ask()
        assert access_key not in str(said.value)
        assert secret_key not in str(said.value)
    assert is_empty(s3, bucket)


def test_a_clock_that_is_wrong_by_an_hour_is_said(s3: S3, store: S3Store) -> None:
    s3.clock_ahead = timedelta(hours=1)
    with pytest.raises(StorageNotConfigured, match="clock"):
        store.put(KEY, PDF, LABEL)


def test_credentials_that_are_nowhere_are_said(
    s3: S3, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    store = S3Store(bucket, endpoint=s3.url)
    for ask in (
        lambda: store.put(KEY, PDF, LABEL),
        lambda: store.link(KEY, "a.pdf", valid_s=60),
    ):
        with pytest.raises(StorageNotConfigured, match="AWS_ACCESS_KEY_ID"):
            ask()


def test_a_profile_that_is_nowhere_is_said_at_once(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(StorageNotConfigured, match="nobody"):
        S3Store("a-bucket")


def test_without_boto3_the_extra_is_named() -> None:
    program = (
        "import sys\n"
        "sys.modules['boto3'] = None\n"
        "from counterfoil.adapters.storage.s3 import S3Store\n"
        "try:\n"
        "    S3Store('a-bucket')\n"
        "except Exception as error:\n"
        "    print(type(error).__name__, error)\n"
    )
    said = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout
    assert said == "Malformed documents: needs the extra for S3: pip install 'counterfoil[s3]'\n"


# --- retention, and deleting ----------------------------------------------------------------


def test_a_retained_document_cannot_be_deleted(s3: S3) -> None:
    bucket = s3.bucket(locking=True)
    store = S3Store(bucket, retention_days=3_650, client=s3.client)
    store.put(KEY, PDF, LABEL)
    until = datetime.now(UTC) + timedelta(days=3_650)
    answer = stored(s3, bucket, KEY)
    assert answer["ObjectLockMode"] == "COMPLIANCE"
    assert abs(answer["ObjectLockRetainUntilDate"] - until) < timedelta(minutes=5)
    said = f"retained until {answer['ObjectLockRetainUntilDate']:%Y-%m-%d}"
    for _ in range(2):
        with pytest.raises(Conflict, match=said):
            store.delete(KEY)
    assert store.get(KEY) == PDF
    store.put(KEY, PDF, LABEL)
    with pytest.raises(Conflict):
        store.put(KEY, b"another", LABEL)


def test_a_document_under_a_legal_hold_cannot_be_deleted(s3: S3) -> None:
    bucket = s3.bucket(locking=True)
    store = S3Store(bucket, client=s3.client)
    store.put(KEY, PDF, LABEL)
    s3.client.put_object_legal_hold(Bucket=bucket, Key=KEY, LegalHold={"Status": "ON"})
    with pytest.raises(Conflict, match="legal hold"):
        store.delete(KEY)
    s3.client.put_object_legal_hold(Bucket=bucket, Key=KEY, LegalHold={"Status": "OFF"})
    store.delete(KEY)
    assert is_empty(s3, bucket)


def test_each_seller_has_a_retention_of_his_own(s3: S3) -> None:
    bucket = s3.bucket(locking=True)
    days = {"german": 3_650, "*": 2_555}
    store = S3Store(bucket, retention_days=days, client=s3.client)
    for seller, expected in (("german", 3_650), ("french", 2_555)):
        store.put(seller, PDF, Label("application/pdf", seller, "a.pdf"))
        until = stored(s3, bucket, seller)["ObjectLockRetainUntilDate"]
        assert abs(until - datetime.now(UTC) - timedelta(days=expected)) < timedelta(minutes=5)
    only = S3Store(bucket, retention_days={"german": 3_650}, client=s3.client)
    only.put("free", PDF, Label("application/pdf", "french", "a.pdf"))
    assert "ObjectLockMode" not in stored(s3, bucket, "free")
    only.delete("free")


def test_retention_in_a_bucket_without_object_lock_is_refused(s3: S3, bucket: str) -> None:
    store = S3Store(bucket, retention_days=1, client=s3.client)
    with pytest.raises(StorageNotConfigured, match="no Object Lock"):
        store.put(KEY, PDF, LABEL)
    assert is_empty(s3, bucket)


@pytest.mark.parametrize("days", [0, -1, 36_501, True, {"a": 0}])
def test_a_retention_that_is_none_is_refused(days: int | dict[str, int]) -> None:
    with pytest.raises(Malformed, match="retention_days"):
        S3Store("a-bucket", retention_days=days)


def test_a_delete_asks_twice_and_no_more(s3: S3, store: S3Store) -> None:
    store.put(KEY, PDF, LABEL)
    s3.seen.clear()
    store.delete(KEY)
    assert [one.method for one in s3.seen] == ["HEAD", "DELETE"]


def test_what_is_deleted_where_versions_are_kept_leaves_neither_version_nor_marker(
    s3: S3,
) -> None:
    bucket = s3.bucket(versions=True)
    store = S3Store(bucket, client=s3.client)
    store.put(KEY, PDF, LABEL)
    store.delete(KEY)
    left = s3.client.list_object_versions(Bucket=bucket)
    assert "Versions" not in left
    assert "DeleteMarkers" not in left


def test_deleting_without_the_right_to_is_no_conflict(s3: S3, bucket: str, store: S3Store) -> None:
    store.put(KEY, PDF, LABEL)
    s3.fail(Late(0), Refuse(403, "AccessDenied"))  # it may look, but not delete
    with pytest.raises(StorageNotConfigured, match="s3:DeleteObject"):
        store.delete(KEY)
    assert store.get(KEY) == PDF


def test_a_delete_whose_answer_was_lost_is_a_success(s3: S3) -> None:
    bucket = s3.bucket(versions=True)
    store = S3Store(bucket, client=s3.client)
    store.put(KEY, PDF, LABEL)
    s3.fail(Late(0), LoseAnswer())
    store.delete(KEY)
    assert is_empty(s3, bucket)


# --- links ----------------------------------------------------------------------------------


def download(link: str) -> tuple[bytes, Mapping[str, str]]:
    with urllib.request.urlopen(link, timeout=10) as answer:  # noqa: S310 - our own server
        return answer.read(), answer.headers


def refused(link: str) -> int:
    with pytest.raises(urllib.error.HTTPError) as answer:
        download(link)
    answer.value.close()
    return answer.value.code


@pytest.mark.parametrize(
    ("file_name", "shown"),
    [
        ("INV-2026-0001.pdf", "INV-2026-0001.pdf"),
        ("Rechnung für Ärzte 100 €.pdf", "Rechnung für Ärzte 100 €.pdf"),
        ("請求書.pdf", "請求書.pdf"),
        ("فاتورة.pdf", "فاتورة.pdf"),
        ('a"b;c=d%41.pdf', 'a"b;c=d%41.pdf'),
        ("a\r\nSet-Cookie: b=c.pdf", "a__Set-Cookie: b=c.pdf"),
        ("../../etc/passwd", ".._.._etc_passwd"),
        ("C:\\a.pdf", "C:_a.pdf"),
        ("invoice\u202efdp.exe", "invoice_fdp.exe"),
        ("a\0b\ud800.pdf", "a_b_.pdf"),
        ("é" * 300 + ".pdf", "é" * 150 + ".pdf"),
        ("", "document"),
        (".pdf", ".pdf"),
    ],
)
def test_a_link_downloads_the_document_under_its_name(
    store: S3Store, file_name: str, shown: str
) -> None:
    store.put(KEY, PDF, LABEL)
    body, headers = download(store.link(KEY, file_name, valid_s=60))
    assert body == PDF
    assert headers["Content-Type"] == "application/pdf"
    assert "Set-Cookie" not in headers
    kind, parameters = parse_options_header(headers["Content-Disposition"])
    assert kind == "attachment"
    assert parameters["filename"] == shown


def test_the_name_that_was_stored_is_safe_too(s3: S3, bucket: str, store: S3Store) -> None:
    name = "Müller\r\nx-amz-acl: public-read.pdf"
    store.put(KEY, PDF, Label("application/pdf", "default", name))
    _, parameters = parse_options_header(stored(s3, bucket)["ContentDisposition"])
    assert parameters["filename"] == "Müller__x-amz-acl: public-read.pdf"
    assert "x-amz-acl" not in s3.seen[0].headers


@pytest.mark.parametrize("media_type", ["", "pdf", "a/b\r\nx: y", "a/b\n", "a/ü", "a/b; c"])
def test_what_is_no_media_type_is_refused(s3: S3, store: S3Store, media_type: str) -> None:
    with pytest.raises(Malformed, match="media_type"):
        store.put(KEY, PDF, Label(media_type, "default", "a.pdf"))
    assert not s3.seen


def test_a_link_ends_in_time(s3: S3, store: S3Store) -> None:
    store.put(KEY, PDF, LABEL)
    link = store.link(KEY, "a.pdf", valid_s=60)
    s3.clock_ahead = timedelta(seconds=55)
    assert download(link)[0] == PDF
    s3.clock_ahead = timedelta(seconds=65)
    assert refused(link) == 403


def test_a_link_that_was_changed_leads_nowhere(s3: S3, store: S3Store) -> None:
    store.put(KEY, PDF, LABEL)
    store.put("acme/invoices/in_2.pdf", PDF, LABEL)
    link = store.link(KEY, "a.pdf", valid_s=60)
    assert download(link)[0] == PDF
    for before, after in (
        ("in_1.pdf", "in_2.pdf"),
        ("a.pdf", "b.pdf"),
        ("Expires=60", "Expires=600"),
        ("Signature=", "Signature=0"),
    ):
        assert before in link
        assert refused(link.replace(before, after)) == 403
    assert refused(link.partition("?")[0]) == 403


def test_a_link_is_signed_as_s3_still_accepts_and_tells_no_secret(s3: S3, bucket: str) -> None:
    link = S3Store(bucket, endpoint=s3.url).link(KEY, "a.pdf", valid_s=60)
    assert parse_qs(urlsplit(link).query)["X-Amz-Algorithm"] == ["AWS4-HMAC-SHA256"]
    assert SECRET_KEY not in unquote(link)


# --- addresses ------------------------------------------------------------------------------


def test_an_address_opens_the_same_store(s3: S3) -> None:
    bucket = s3.bucket(locking=True)
    store = S3Store.from_address(
        f"s3://{bucket}/some/prefix/?endpoint={s3.url}&region=eu-central-1"
        "&kms_key=arn:aws:kms:eu-central-1:1:key/a&retention_days=30"
    )
    store.put(KEY, PDF, LABEL)
    answer = stored(s3, bucket, f"some/prefix/{KEY}")
    assert answer["SSEKMSKeyId"] == "arn:aws:kms:eu-central-1:1:key/a"
    assert answer["ObjectLockRetainUntilDate"] > datetime.now(UTC) + timedelta(days=29)
    (put,) = (one for one in s3.seen if one.method == "PUT" and one.key)
    assert "/eu-central-1/s3/" in put.headers["authorization"]
    assert S3Store.from_address(f"s3://{bucket}/some/prefix?endpoint={s3.url}").get(KEY) == PDF


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("s3://", "name of an S3 bucket"),
        ("s3:///a", "name of an S3 bucket"),
        ("s3://AB", "name of an S3 bucket"),
        ("s3://key:secret@bucket/a", "name of an S3 bucket"),
        ("https://bucket/a", "s3://bucket/prefix"),
        ("s3://[", "s3://bucket/prefix"),
        ("s3://bucket/a#b", "s3://bucket/prefix"),
        ("s3://buck\net/a", "without spaces"),
        ("s3://bucket/a b", "without spaces"),
        ("s3://bucket/../a", "prefix"),
        ("s3://bucket/a//b", "prefix"),
        ("s3://bucket/" + "a" * 201, "prefix"),
        ("s3://bucket/a?acl=public-read", "acl is no option of S3"),
        ("s3://bucket/a?region=a&region=b", "one value of region"),
        ("s3://bucket/a?region=", "one value of region"),
        ("s3://bucket/a?region=a%20b", "region"),
        ("s3://bucket/a?endpoint=localhost:9000", "endpoint"),
        ("s3://bucket/a?endpoint=http://key:secret@localhost", "endpoint"),
        ("s3://bucket/a?retention_days=ten", "retention_days"),
        ("s3://bucket/a?retention_days=0", "retention_days"),
        ("s3://bucket/a?retention_days=-1", "retention_days"),
    ],
)
def test_what_is_no_address_of_a_bucket_is_refused(address: str, words: str) -> None:
    with pytest.raises(Malformed, match=words) as said:
        S3Store.from_address(address)
    assert said.value.field == "documents"
    assert "secret" not in str(said.value)


def test_a_server_that_sends_everybody_elsewhere_is_no_bucket(s3: S3, store: S3Store) -> None:
    s3.fail_always(Refuse(302, "Found"))
    for ask in (
        lambda: store.put(KEY, PDF, LABEL),
        lambda: store.get(KEY),
        lambda: store.delete(KEY),
    ):
        with pytest.raises(StorageNotConfigured, match="in circles"):
            ask()
