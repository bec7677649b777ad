"""Sweeping: what killed runs left behind where they worked: frames on their way, and drafts of files.

The month-end sweeps its output when it is done, the nightly check all of them. What a run that lives, or that
may be retried, has made is left alone; which those are is `tasks.runs`' to say.
"""

import re
import time
from pathlib import Path
from typing import Final

from schemas.settings import load_settings
from tasks.database import reading
from tasks.ledger import Ledger
from tasks.runs import SILENT_FOR, spent
from tasks.staging import remove_stage, stages_in
from tasks.storage import LocalFolder, storage_at

# How `tasks.storage` names a file until it is whole.
DRAFT: Final = re.compile(r"\..+\.[0-9a-f]{12}")


def sweep(ledger: Ledger, output: str) -> int:
    """Remove from an output the frames of runs that are over, and drafts nobody can be writing any more.

    Returns:
        How many runs and drafts left something.
    """
    frames = f"{output}/.stage"
    with reading(ledger.engine) as connection:
        over = spent(connection)
    left = [stage for stage in stages_in(frames) if stage.rpartition("/")[2] in over]
    for stage in left:
        remove_stage(f"{frames}/{stage}")
    return len(left) + _remove_drafts(output)


def sweep_previews() -> None:
    """Remove the frames of previews that were killed."""
    previews = load_settings().previews
    for path in previews.glob("*/*"):
        if _is_old(path):
            remove_stage(str(path))


def _remove_drafts(output: str) -> int:
    """Remove old drafts from a folder; in a bucket nothing is seen before it is whole."""
    storage = storage_at(output)
    if not isinstance(storage, LocalFolder):
        return 0
    drafts = [path for path in storage.root.rglob(".*") if DRAFT.fullmatch(path.name) and _is_old(path)]
    for path in drafts:
        path.unlink(missing_ok=True)
    return len(drafts)


def _is_old(path: Path) -> bool:
    """Tell whether nothing has been done to a file or folder for so long that nobody is at it."""
    return time.time() - path.stat().st_mtime > SILENT_FOR.total_seconds()
