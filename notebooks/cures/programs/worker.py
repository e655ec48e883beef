import asyncio

from app.worker import analyse  # its body: asyncio.run(run_analysis(task))
from four_times import attempt, cure, disposing, tasks

for task in tasks:
    if cure == "disposing":
        attempt(asyncio.run, disposing(task))
    else:
        attempt(analyse.apply, [str(task)], throw=True)
