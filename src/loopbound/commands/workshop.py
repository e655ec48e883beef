"""The work behind ``loopbound workshop [--check]``."""

from __future__ import annotations

from loopbound.authoring.guide import agenda_block, filled, lessons_block
from loopbound.course.manifest import agendas
from loopbound.files import replace_text
from loopbound.paths import repository
from loopbound.problem import Problem

__all__ = ["GUIDE", "workshop_command"]

GUIDE = "workshop/README.md"


def workshop_command(check: bool) -> int:
    """Write the guide's generated parts; with ``check`` it changes nothing and gives 1 where
    one is stale.

    Raises ``Problem`` where the guide or what it is made from cannot be read.
    """
    root = repository()
    path = root / GUIDE
    try:
        before = path.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Problem(
            f"{path} cannot be read: {error}\nBring the file back with: git restore {GUIDE}"
        ) from error
    after = filled(
        before, {"agenda": agenda_block(agendas()), "lessons": lessons_block(root)}, GUIDE
    )
    if before == after:
        return 0
    if not check:
        replace_text(path, after)
        print(f"{GUIDE}: written")
        return 0
    print(f"{GUIDE}: is not what loopbound workshop makes\nrun: python3 lab.py workshop")
    return 1
