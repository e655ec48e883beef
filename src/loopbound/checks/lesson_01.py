"""Lesson 01, turns on a loop: predict who speaks, fetch all at once, share a loop, ring from
another thread.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Mapping
from typing import Any

from loopbound.checks.plain import as_text, first_difference
from loopbound.checks.task import Data, TaskCheck, at, is_thing, returned, value_of
from loopbound.checks.verdict import Verdict, failed, passed
from loopbound.checks.watch import Watch

CHECKS: dict[str, TaskCheck] = {}

# 01.1 Who speaks when


def _spoken(given: Mapping[str, Any]) -> Data:
    # The evening itself, run again on a loop of its own: what the notebook says is what is compared
    # with.
    spoken: list[str] = []
    with Watch(given) as watch:
        watch.step("A", "evening(say)", lambda: given["evening"](spoken.append))
    return {"spoken": spoken}


def _judge_speakers(data: Data) -> Verdict:
    said, spoken = value_of(data), data["spoken"]
    if is_thing(said, "coroutine"):
        return failed(
            "async function",
            "`speakers` is an `async def`: calling it made a coroutine, and no list. A prediction"
            " needs no loop.",
        )
    if not isinstance(said, list) or not all(isinstance(line, str) for line in said):
        return failed(
            "not a list",
            f"`speakers()` returned {as_text(said)}. Wanted is a list of the lines, each as it is"
            " spoken.",
        )
    if said == spoken:
        return passed(
            f"The evening ran on a loop of its own and spoke your {len(spoken)} lines, in your"
            " order."
        )
    if strange := [line for line in said if line not in spoken]:
        return failed(
            "unknown line",
            f"No task says {strange[0]!r}: copy each line as it stands in `say(…)`.",
        )
    if sorted(said) != sorted(spoken):
        return failed(
            "missing lines",
            f"The evening spoke {len(spoken)} lines, each of them once; yours are {len(said)}.",
        )
    place = {line: position for position, line in enumerate(said)}
    right = first_difference(said, spoken)
    words = (
        f"Line {right + 1} is the first in which you and the run differ: you have {said[right]!r}"
        " there."
    )
    if place["report writes"] < place["address found"]:
        return failed(
            "one after the other",
            f"{words}\nIn your order report ends before mail begins. What does report do at its"
            " `await`?",
        )
    if place["backup starts"] < place["mail asks"]:
        return failed(
            "every await a turn",
            f"{words}\nIn your order mail's turn ends at `await address(…)`. Is there anything in"
            " `address` to wait for?",
        )
    if place["mail sends"] < place["backup starts"]:
        return failed(
            "sleep(0) skipped",
            f"{words}\nIn your order mail goes on through `sleep(0)` in one turn. Who was ready at"
            " that moment?",
        )
    if place["backup ends"] < place["mail sends"] or place["report writes"] < place["mail sends"]:
        return failed(
            "blocking interrupted",
            f"{words}\nIn your order a timer interrupts mail's `time.sleep`. Who could hand the"
            " turn over there?",
        )
    return failed(
        "timers in order of start",
        f"{words}\nBoth timers had run out when mail's turn ended. Which of them was due first?",
    )


CHECKS["01.1"] = TaskCheck(
    answers=("speakers",),
    given=("evening",),
    facts=_spoken,
    judge=_judge_speakers,
    hints=(
        (
            "Mark the places where a turn ends: where a task has to wait, and where it returns."
            " Does `await address(…)` have anything to wait for?"
        ),
        (
            "`gather` starts the three in the order of its arguments. A task that awaits"
            " `sleep(0)` is ready again at once, behind those that are ready already."
        ),
        (
            "While mail is inside `time.sleep(0.3)`, both timers run out. The loop looks at its"
            " timers after that turn, earliest deadline first."
        ),
    ),
)


# 01.2 All reports at once

_USERS = ["mina", "joel", "aiko"]
_SECONDS = {
    "mina": 0.09,
    "joel": 0.03,
    "aiko": 0.06,
}  # the order of the ends is not that of the starts


def _observe_reports(names: Mapping[str, Any]) -> Data:
    open_now: list[str] = []
    turns: list[tuple[str, list[str], list[str]]] = []
    seen: dict[str, Any] = {"most": 0, "started": [], "ended": [], "elsewhere": []}

    async def fetch(user: str) -> str:
        if asyncio.get_running_loop() is not home.loop:
            seen["elsewhere"].append(user)
        turns.append((user, [], list(open_now)))
        seen["started"].append(user)
        open_now.append(user)
        seen["most"] = max(seen["most"], len(open_now))
        try:
            await asyncio.sleep(_SECONDS.get(user, 0.03))
        finally:
            open_now.remove(user)
        seen["ended"].append(user)
        turns.append((user, [], list(open_now)))
        return f"report for {user}"

    with Watch(names) as watch:
        home = watch.loop("A")
        watch.step(
            "A", f"all_reports({_USERS}, fetch)", lambda: names["all_reports"](list(_USERS), fetch)
        )
    return watch.data(**seen, turns=turns)


def _judge_reports(data: Data) -> Verdict:
    value, call = value_of(data), at(data["steps"][0])
    if isinstance(value, list) and any(is_thing(item) for item in value):
        thing = next(item for item in value if is_thing(item))
        return failed(
            "not awaited",
            f"{call} returned {as_text(value)}: {as_text(thing)} is a report still to come, not a"
            " report.",
        )
    if data["ended"] and data["most"] == 1:
        return failed(
            "one after the other",
            f"{call}: never more than one `fetch` was open at a time. Each began when the one"
            " before it had ended.",
        )
    if data["elsewhere"]:
        return failed(
            "loops of their own",
            f"{call}: {len(data['elsewhere'])} of {len(data['started'])} fetches ran on loops of"
            " their own, in other threads. What a report needs may belong to loop A, which can"
            " wait for many at a time. Who made the other loops?",
        )
    wanted = [f"report for {user}" for user in _USERS]
    if isinstance(value, list) and value != wanted and sorted(map(str, value)) == sorted(wanted):
        return failed(
            "order of completion",
            f"{call} returned {as_text(value)}. All reports are there, in the order in which they"
            " came, not in that of the users.",
        )
    if value is None and data["started"]:
        return failed(
            "nothing returned", f"{call} began {len(data['started'])} fetches and returned None."
        )
    if value != wanted or sorted(data["ended"]) != sorted(_USERS):
        return failed(
            "other value",
            f"{call} returned {as_text(value)}, after {len(data['ended'])} of 3 fetches had ended.",
        )
    return passed(
        f"{call}: up to {data['most']} fetches were open at a time, and the reports came back in"
        " the order of the users."
    )


def _draw_turns(data: Data) -> Any:
    from loopbound.figures import schedule

    return schedule(
        [tuple(turn) for turn in data["turns"]], "Your run: where each fetch began and ended"
    )


CHECKS["01.2"] = TaskCheck(
    answers=("all_reports",),
    observe=_observe_reports,
    judge=_judge_reports,
    show=_draw_turns,
    hints=(
        (
            "`await fetch(user)` waits to the end before the next line runs. Something has to"
            " start all fetches before the first wait for a result."
        ),
        (
            "`fetch(user)` alone makes a coroutine and starts nothing. Which function of lesson"
            " 01 ran several coroutines together?"
        ),
        (
            "`asyncio.gather(a, b, c)` runs its coroutines together and gives their results in"
            " the order of its arguments; `*` unpacks a list into arguments."
        ),
    ),
    explains=(
        (
            "cannot be called from a running event loop",
            "a loop inside a loop",
            (
                "A loop is running already: the one that awaits your function. Await on it; it"
                " needs no second one."
            ),
        ),
        (
            "object list can't be used in 'await'",
            "awaited a list",
            (
                "A list of coroutines is no coroutine: something has to gather them into one"
                " thing to await."
            ),
        ),
        (
            "unhashable type: 'list'",
            "gathered a list",
            "`gather` takes each coroutine as an argument of its own. It was handed one list.",
        ),
        (
            "object generator can't be used in 'await'",
            "awaited a list",
            (
                "A generator of coroutines is no coroutine: something has to gather them into"
                " one thing to await."
            ),
        ),
    ),
)


# 01.3 A long count that shares its loop

_PAGES = [3, 1, 4, 1, 5, 9]


def _timers_set() -> list[float]:
    """The delays, in seconds, of timers that are set on the running loop from now on, by
    `asyncio.sleep` as by `call_later`; it goes on growing.
    """
    loop, delays = asyncio.get_running_loop(), []
    call_later = loop.call_later

    def noted(delay: float, *more: Any, **named: Any) -> asyncio.TimerHandle:
        delays.append(float(delay))
        return call_later(delay, *more, **named)

    loop.call_later = noted  # type: ignore[method-assign, assignment]
    return delays


def _observe_count(names: Mapping[str, Any]) -> Data:
    seen: dict[str, Any] = {"counted": [], "between": [], "after": 0, "slept": 0.0}
    turns: list[tuple[str, list[str], list[str]]] = []
    beats = 0

    def count(page: int) -> int:
        nonlocal beats
        if seen["counted"]:
            seen["between"].append(beats)
        beats = 0
        seen["counted"].append(page)
        turns.append(("total", ["stream"], []))
        return page

    async def stream() -> None:
        nonlocal beats
        while True:
            beats += 1
            if beats == 1:
                turns.append(("stream", ["total"], []))
            await asyncio.sleep(0)

    async def beside_a_stream() -> Any:
        other = asyncio.create_task(stream())
        await asyncio.sleep(0)
        timers = _timers_set()
        try:
            value = await names["total"](list(_PAGES), count)
            seen["after"] = beats
            return value
        finally:
            seen["slept"] = max(timers, default=0.0)
            other.cancel()
            await asyncio.wait([other])

    with Watch(names) as watch:
        watch.step("A", f"total({_PAGES}, count)", beside_a_stream)
    return watch.data(**seen, turns=turns)


def _judge_count(data: Data) -> Verdict:
    value, call, between = value_of(data), at(data["steps"][0]), data["between"]
    if sorted(data["counted"]) != sorted(_PAGES):
        return failed(
            "pages missed",
            f"{call} counted the pages {data['counted']}: each page once was wanted.",
        )
    if not any(between):
        return failed(
            "no turn",
            f"{call}: a stream was ready on the same loop all the time, and had no turn between the"
            " first page and the last.",
        )
    if not all(between):
        missed = between.index(0) + 1
        return failed(
            "too few turns",
            f"{call}: the stream had turns, but none between page {missed} and page {missed + 1}.",
        )
    if not data["after"]:
        return failed(
            "no turn at the end",
            f"{call}: the stream had a turn after each page but the last. Between page"
            f" {len(_PAGES)} and the return it had none.",
        )
    if data["slept"] > 0:
        return failed(
            "slept",
            f"{call}: the stream had its turns, and your code asked for a pause of"
            f" {data['slept']:g} s as well, in which nothing was counted. The stream was ready all"
            " the while. How long must an `await` ask for, so that a turn ends?",
        )
    if value != sum(_PAGES):
        return failed(
            "other value", f"{call} gave the stream its turns, and returned {returned(data)}."
        )
    return passed(f"{call}: the stream had a turn after every page, and the sum is {value}.")


def _draw_count(data: Data) -> Any:
    from loopbound.figures import schedule

    return schedule(
        [tuple(turn) for turn in data["turns"]],
        "Your run: pages of total, and the stream beside it",
    )


CHECKS["01.3"] = TaskCheck(
    answers=("total",),
    observe=_observe_count,
    judge=_judge_count,
    show=_draw_count,
    hints=(
        (
            "`async` in front of `def` gives no turn away, and neither does a call that blocks."
            " Only an `await` that really waits does."
        ),
        "Which `await` of lesson 01 asked for no time at all and still ended a turn?",
    ),
    explains=(
        (
            "can't be used in 'await' expression",
            "awaited a number",
            (
                "`count` is a plain function, so what it returns is a number, and a number"
                " cannot be awaited."
            ),
        ),
    ),
)


# 01.4 A bell on another thread

_PATIENCE = 1.0  # seconds after which a timer wakes the loop anyway


def _observe_ring(names: Mapping[str, Any]) -> Data:
    order: list[str] = []
    handed: list[str] = []  # types of what was handed to the loop as a callback
    ready = threading.Event()
    parts: dict[str, Any] = {}

    class Bell(asyncio.Event):
        def set(self) -> None:
            order.append(
                "set on its loop" if threading.get_ident() == parts["thread"] else "set elsewhere"
            )
            super().set()

    async def listen() -> None:
        loop = asyncio.get_running_loop()
        parts.update(loop=loop, bell=Bell(), thread=threading.get_ident())
        alarm = loop.call_later(_PATIENCE, order.append, "timer")
        call_soon_threadsafe = loop.call_soon_threadsafe

        def noted(callback: Any, *more: Any, **named: Any) -> asyncio.Handle:
            handed.append(type(callback).__name__)
            return call_soon_threadsafe(callback, *more, **named)

        loop.call_soon_threadsafe = noted  # type: ignore[method-assign, assignment]
        parts["timers"] = _timers_set()
        ready.set()
        try:
            async with asyncio.timeout(_PATIENCE + 0.5):
                await parts["bell"].wait()
                order.append("heard")
        except TimeoutError:
            order.append("given up")
        finally:
            alarm.cancel()

    with Watch(names) as watch:

        def from_another_thread() -> None:
            if ready.wait(5):
                time.sleep(0.1)  # until the loop sleeps in select()
                watch.plain_step(
                    "ring(loop, bell)", lambda: names["ring"](parts["loop"], parts["bell"])
                )

        ringing = threading.Thread(target=from_another_thread, daemon=True)
        ringing.start()
        watch.step("A", "listen()", listen)
        ringing.join(10)
    return watch.data(order=order, handed=handed, slept=max(parts["timers"], default=0.0))


def _judge_ring(data: Data) -> Verdict:
    order = data["order"]
    ring: Data = next((step for step in data["steps"] if step["called"].startswith("ring")), {})
    if is_thing(ring.get("value"), "coroutine"):
        return failed(
            "never awaited",
            "`ring(loop, bell)` returned a coroutine. The thread that called it has no loop to run"
            " one on.",
        )
    if "set elsewhere" in order and "NoneType" in data["handed"]:
        return failed(
            "called, not handed over",
            "`bell.set()` ran on the thread that called `ring`: with its parentheses it is a call,"
            " and that thread made it. What reached loop A as a callback was its result, None.",
        )
    if "set elsewhere" in order:
        return failed(
            "set on the wrong thread",
            "`bell.set()` ran on the thread that called `ring`, while loop A was running on its"
            " own. An event is not made for that: only its loop's thread may touch it.",
        )
    if "set on its loop" not in order:
        return failed(
            "not rung",
            "`ring(loop, bell)` returned, and the bell was never set. The listener on loop A gave"
            f" up after {_PATIENCE + 0.5} seconds.",
        )
    if "timer" in order and order.index("timer") < order.index("heard"):
        return failed(
            "loop not woken",
            "The bell was set on loop A, but only when a timer of another task woke the loop,"
            f" {_PATIENCE:.0f} second later. Until then your callback lay in its queue.",
        )
    if data["slept"] > 0:
        return failed(
            "set later",
            f"Loop A was woken, and then a timer of {data['slept']:g} s came before the bell. The"
            " task was to wake up at once.",
        )
    return passed("Loop A slept, your call woke it, and the bell was set on its own thread.")


CHECKS["01.4"] = TaskCheck(
    answers=("ring",),
    observe=_observe_ring,
    judge=_judge_ring,
    hints=(
        (
            "`ring` runs on a thread that is not the loop's. Leave `bell.set` itself to the"
            " loop, as a callback, and look at how the callback gets there."
        ),
        (
            "A loop with nothing to do sleeps in `select()`. Lesson 01d used two calls to put a"
            " callback into its queue; one of them also woke it."
        ),
        "Hand over the function, not its result: `bell.set` without parentheses.",
    ),
    explains=(
        (
            "no running event loop",
            "no loop on this thread",
            (
                "The thread that calls `ring` runs no loop. The loop that is meant came in as"
                " an argument."
            ),
        ),
        (
            "coroutine object is required",
            "not a coroutine",
            (
                "`bell.set()` is a plain call and gives None. A callback is handed over as a"
                " function."
            ),
        ),
        (
            "A coroutine object",
            "not a coroutine",
            (
                "`bell.set()` is a plain call and gives None. A callback is handed over as a"
                " function."
            ),
        ),
    ),
)
