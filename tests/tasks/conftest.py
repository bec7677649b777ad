"""A ledger on each database, and made-up claims to put into it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tasks.ledger import Ledger


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database, once of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'ledger.sqlite'}"
    url: Any = request.getfixturevalue("postgres_url")
    return str(url)


@pytest.fixture
def ledger(ledger_url: str) -> Iterator[Ledger]:
    """An empty ledger, its tables in place, once on each database."""
    with Ledger(ledger_url) as opened:
        opened.upgrade()
        yield opened
