"""How these commands open a tenant, and what they print on."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich import box
from rich.console import Console
from rich.table import Table

from counterfoil.adapters.cli.invoice import WIDE
from counterfoil.adapters.cli.opening import existing
from counterfoil.billing import Billing, Tenant


@contextmanager
def opened(arguments: argparse.Namespace) -> Iterator[Tenant]:
    """The tenant that is meant, in the database that is meant."""
    with Billing.open(existing(arguments.database)) as billing:
        yield billing.tenant(arguments.tenant)


def console() -> Console:
    """A terminal, or a wide page."""
    # Whoever reads what is piped on has all the width there is.
    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else WIDE
    return Console(width=width, highlight=False)


def table(*names: str) -> Table:
    """An empty table with these columns."""
    made = Table(box=box.SIMPLE_HEAD)
    for name in names:
        made.add_column(name, overflow="fold")
    return made


def print_json(said: object) -> None:
    """Print for a machine."""
    print(json.dumps(said, ensure_ascii=False))
