"""Four tasks, and how each ended. Arguments: the number of the first task, and the cure, if any."""

import sys
from uuid import UUID

from app.db.session import engine
from app.services.analysis import run_analysis
from loopbound import symptom_of

tasks = [UUID(int=int(sys.argv[1]) + number) for number in range(4)]
cure = "".join(sys.argv[2:])


def attempt(work, *arguments, **more):
    try:
        work(*arguments, **more)
        print("ok")
    except Exception as error:
        print(symptom_of(error))


async def disposing(task):
    try:
        await run_analysis(task)
    finally:
        await engine.dispose()
