"""Fixtures of the acceptance tests: a tiny month, and practices that have come so far with it."""

import shutil
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import psycopg
import pytest

from infra.sandbox.month import make_month
from infra.sandbox.payer import answer
from infra.sandbox.servers import PostgresServer
from tests.acceptance.afterwards import files_in
from tests.acceptance.lone_runs import MONTH, Practice

NewPractice = Callable[..., Practice]


@dataclass
class Chapter:
    """How far an undisturbed practice has come, and what lies there then; only to be looked at and copied."""

    practice: Practice
    outputs: dict[str, bytes]
    delivered: dict[str, bytes]
    ledger: dict[str, Counter[str]]


@dataclass
class Databases:
    """Where each ledger lives: a SQLite file in the practice's folder, or a database of the real server."""

    server: Callable[[], PostgresServer]

    def new(self, kind: str, folder: Path) -> str:
        """Give the URL of an empty database."""
        if kind == "sqlite":
            return f"sqlite:///{folder / 'home' / 'ledger.sqlite'}"
        return self.server().new_database()

    def copy(self, url: str, folder: Path) -> str:
        """Copy a database nobody uses now; a SQLite file was copied with its folder."""
        if url.startswith("sqlite"):
            return self.new("sqlite", folder)
        server, name = self.server(), f"copy_{uuid.uuid4().hex[:12]}"
        with psycopg.connect(server.url.replace("+psycopg", ""), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {url.rpartition('/')[2]}".encode())
        return server.url_of(name)


@dataclass
class Story:
    """An undisturbed practice, chapter by chapter, on each database; told when first asked for."""

    folder: Path
    source: Path
    databases: Databases
    told: dict[tuple[str, str], Chapter] = field(default_factory=dict)

    def after(self, flow: str, kind: str) -> Chapter:
        """Return the chapter that a flow ends."""
        if (flow, kind) not in self.told:
            practice = self.before(flow, kind, self.folder / f"{flow}-{kind}")
            ending = practice.run(flow)
            assert ending.is_done, ending
            if flow == "submission":
                answer(practice.delivered, practice.folder / "inbox", seed=5)
            self.told[flow, kind] = Chapter(
                practice, practice.outputs(), files_in(practice.delivered), practice.ledger()
            )
        return self.told[flow, kind]

    def before(self, flow: str, kind: str, folder: Path) -> Practice:
        """Set up a practice of its own in a folder, on the eve of a flow."""
        eve = {
            "month_end": None,
            "submission": "month_end",
            "collection": "submission",
            "nightly": "collection",
        }[flow]
        if eve is None:
            return Practice(folder, str(self.source), self.databases.new(kind, folder))
        told = self.after(eve, kind).practice
        shutil.copytree(told.folder, folder)
        return Practice(folder, told.source, self.databases.copy(told.ledger_url, folder))


@pytest.fixture(scope="session")
def tiny_month(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source of a month of a dozen patients at two practices."""
    source = tmp_path_factory.mktemp("tiny") / "source"
    make_month(date(2026, 10, 1), patients=12, seed=5, out=source, file_format="csv", has_faults=False)
    # In two files, so that one can come late.
    first = source / "time-entries" / MONTH / "part-1.csv"
    header, *entries = first.read_text().splitlines(keepends=True)
    first.write_text("".join((header, *entries[::2])))
    first.with_name("part-2.csv").write_text("".join((header, *entries[1::2])))
    return source


@pytest.fixture(scope="session")
def story(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, tiny_month: Path
) -> Story:
    """The undisturbed practice everything is compared with."""

    def server() -> PostgresServer:
        found: Any = request.getfixturevalue("postgres")
        assert isinstance(found, PostgresServer)
        return found

    return Story(tmp_path_factory.mktemp("undisturbed"), tiny_month, Databases(server))


@pytest.fixture
def eve_of(story: Story, tmp_path: Path) -> NewPractice:
    """Set up a practice of this test alone on the eve of a flow."""

    def set_up(flow: str, kind: str = "sqlite", name: str = "practice") -> Practice:
        return story.before(flow, kind, tmp_path / name)

    return set_up
