import asyncio
from concurrent.futures import ThreadPoolExecutor

from four_times import attempt, cure, disposing, run_analysis, tasks

server = asyncio.Runner()


def serve(task):
    server.run(run_analysis(task))


def beside(task):  # the server's loop rests meanwhile: awake, the two threads would race, and the messages vary
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, disposing(task) if cure == "disposing" else run_analysis(task)).result()


def hand_over(task):
    def in_thread():
        asyncio.run_coroutine_threadsafe(run_analysis(task), server.get_loop()).result()

    server.run(asyncio.to_thread(in_thread))


second = hand_over if cure == "hand it over" else beside
for task, work in zip(tasks, [serve, second, serve, second]):
    attempt(work, task)
