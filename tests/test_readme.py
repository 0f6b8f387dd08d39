"""Is the README true: does its code run and print what it says, do its links lead anywhere?"""

from __future__ import annotations

import asyncio
import importlib.util
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from counterfoil.adapters.processors.webhook import sign_webhook
from counterfoil.billing import ActionRequired, Billing, FakeProcessor, read_webhook
from counterfoil.domain import Customer, NewLine, Seller, Tax
from counterfoil.domain.errors import Malformed, NotFound, Rejected

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)
LINKS = re.findall(r"\]\((?!https?://)([^)#]+)\)", README)
PROMISES = re.findall(r"\[`(test_\w+)`\]\(([^)]+)\)", README)


def test_the_first_block_prints_what_the_second_says() -> None:
    (language, shell), (_, promised) = BLOCKS[:2]
    program = re.fullmatch(r"python3 infra/dev\.py run python - <<'EOF'\n((?:.*\n)*)EOF\n", shell)
    assert language == "sh"
    assert program is not None
    done = subprocess.run(
        [sys.executable, "-"], input=program[1], capture_output=True, text=True, check=True
    )
    assert done.stdout == promised


@pytest.mark.parametrize("link", sorted(set(LINKS)))
def test_a_link_leads_somewhere(link: str) -> None:
    assert (ROOT / link).exists()


@pytest.mark.parametrize(("name", "path"), PROMISES)
def test_a_promise_names_a_test_that_exists(name: str, path: str) -> None:
    assert f"def {name}(" in (ROOT / path).read_text()


def test_promises_are_linked() -> None:
    section = README.split("## Promises\n")[1].split("\n## ")[0]
    rows = [row for row in section.splitlines() if row.startswith("| ")][2:]
    assert len(rows) >= 8
    assert all("](tests/" in row for row in rows)


# --- the endpoint for webhooks --------------------------------------------------------------------


def the_readmes_app(folder: Path, **names: object) -> Any:
    """What the block makes of `app`, when these names mean something."""
    (code,) = [code for language, code in BLOCKS if language == "python" and "def webhook" in code]
    (folder / "endpoint.py").write_text(code)
    spec = importlib.util.spec_from_file_location("endpoint", folder / "endpoint.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    vars(module).update(names)
    spec.loader.exec_module(module)
    return module.app


def requested(
    app: Any, body: bytes, signature: str | None, method: str = "POST"
) -> tuple[int, str]:
    """The status and the text of an answer, as a server would hear it."""
    headers = [] if signature is None else [(b"stripe-signature", signature.encode("latin-1"))]
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "path": "/webhook",
        "raw_path": b"/webhook",
        "query_string": b"",
        "headers": headers,
        "server": ("localhost", 80),
        "scheme": "http",
    }
    said: list[Any] = []

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        said.append(message)

    asyncio.run(app(scope, receive, send))
    text = b"".join(message.get("body", b"") for message in said)
    return said[0]["status"], text.decode()


def test_the_endpoint_hears_a_webhook_once_and_nobody_else(tmp_path: Path) -> None:
    fake, now = FakeProcessor(), datetime.now(UTC)
    with Billing.open(
        tmp_path / "counterfoil.db", seller=Seller(name="Northwind"), processor=fake
    ) as billing:
        app = the_readmes_app(
            tmp_path,
            billing=billing,
            read_webhook=read_webhook,
            Malformed=Malformed,
            NotFound=NotFound,
            Rejected=Rejected,
            SECRETS=["whsec_new", "whsec_old"],
        )
        acme = billing.tenant("acme")
        draft = acme.draft_invoice(
            customer=Customer(id="cus_1", name="Ada"),
            currency="EUR",
            lines=[
                NewLine(description="Work", quantity="1", unit_price="50.00", tax=Tax(rate="19"))
            ],
        )
        invoice = acme.finalize_invoice(draft.id).id
        outcome = acme.pay_invoice(invoice, payment_method="pm_card_authenticationRequired")
        assert isinstance(outcome, ActionRequired)
        early, _ = fake.webhook(outcome.intent.id, "whsec_new", at=now - timedelta(hours=1))
        fake.confirm(outcome.intent.id)
        body, signature = fake.webhook(outcome.intent.id, "whsec_old", at=now)
        stale = sign_webhook(body, "whsec_new", now - timedelta(seconds=302))
        for refused in (
            *(signature[:-1], stale, "", "é", "v1=", sign_webhook(body, "whsec_other", now)),
            None,
        ):
            assert requested(app, body, refused) == (400, "not from the processor")
        assert requested(app, body + b" ", signature)[0] == 400
        assert requested(app, b"[]", sign_webhook(b"[]", "whsec_new", now))[0] == 400
        assert requested(app, body, signature, "GET")[0] == 405
        assert acme.get_invoice(invoice).status == "open"
        assert requested(app, body, signature) == (200, "heard")
        assert acme.get_invoice(invoice).status == "paid"
        facts = billing.log.read("acme", invoice)
        assert requested(app, body, signature) == (200, "heard")
        status, text = requested(app, early, sign_webhook(early, "whsec_new", now))
        assert (status, "has ended already" in text) == (200, True)
        foreign = body.replace(invoice.encode(), b"in_of_another_system")
        assert requested(app, foreign, sign_webhook(foreign, "whsec_new", now))[0] == 200
        other = body.replace(b'"acme"', b'"beta"')
        assert requested(app, other, sign_webhook(other, "whsec_new", now))[0] == 200
        assert billing.log.read("acme", invoice) == facts
