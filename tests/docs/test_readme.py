"""The README tells the truth: its map is the tree, its commands exist, its links lead somewhere."""

import re
from pathlib import Path

from typer.main import get_command

from console.cli import app

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def test_the_map_names_every_room_and_no_other() -> None:
    house = README.split("## The house")[1].split("```")[1]
    told = {line.split("/")[0] for line in house.strip().splitlines()}
    rooms = {path.name for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith(".")}
    assert told == {room for room in rooms if any((ROOT / room).rglob("*.*"))} - {"dist", "__pycache__"}


def test_every_command_it_shows_exists() -> None:
    shown = set(re.findall(r"^rpmclaims ([a-z0-9-]+)", README, re.MULTILINE))
    assert len(shown) > 5
    assert shown <= set(get_command(app).commands)  # type: ignore[attr-defined]


def test_every_make_target_it_names_exists() -> None:
    named = set(re.findall(r"`?make ([a-z]+)", README))
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {"demo", "test", "check", "bench"} <= named
    assert named <= targets


def test_every_link_leads_somewhere() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
