"""``loopbound doctor``: is this environment fit for the course?"""

from loopbound.doctor import examine

__all__ = ["doctor_command"]


def doctor_command() -> int:
    """Print the rows; 0 if all is well, else 1."""
    rows = examine()
    width = max(len(row.name) for row in rows)
    for row in rows:
        print(f"{'ok ' if row.ok else 'OFF'}  {row.name:<{width}}  {row.found}")
        for line in f"{row.problem}\n{row.help}".splitlines() if not row.ok else []:
            print(f"     {'':<{width}}  {line}")
    return 0 if all(row.ok for row in rows) else 1
