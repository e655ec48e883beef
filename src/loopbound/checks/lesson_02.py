"""Lesson 02, what binds and when: predict a lock's life, read a message, keep one thing for each
loop, carry a value across.
"""

from __future__ import annotations

import asyncio
import gc
import re
import weakref
from collections.abc import Mapping
from functools import partial
from typing import Any

from loopbound.checks.plain import as_text, first_difference
from loopbound.checks.task import Data, TaskCheck, is_thing, timeline_of, value_of
from loopbound.checks.verdict import Verdict, failed, passed
from loopbound.checks.watch import Watch
from loopbound.loops import NamedLoop
from loopbound.recorder import DIFFERENT, OK, symptom_of

CHECKS: dict[str, TaskCheck] = {}

# 02.1 The life of a lock

_STEPS = (("A", "take"), ("B", "share"), ("A", "take"), ("A", "share"), ("B", "share"))


def _lock_outcomes(given: Mapping[str, Any]) -> Data:
    outcomes: list[str] = []

    async def made() -> asyncio.Lock:
        return asyncio.Lock()

    async def attempt(use: Any, lock: asyncio.Lock) -> None:
        try:
            await use(lock)
        except RuntimeError as error:
            outcomes.append(symptom_of(error))
        else:
            outcomes.append(OK)

    with Watch(given) as watch:
        lock = watch.loop("A").run(made())
        for loop, use in _STEPS:
            watch.step(loop, f"{use}(lock)", partial(attempt, given[use], lock))
    return {"outcomes": outcomes}


def _judge_lock(data: Data) -> Verdict:
    said, outcomes = value_of(data), data["outcomes"]
    if (
        not isinstance(said, list)
        or len(said) != len(_STEPS)
        or not set(map(str, said)) <= {OK, DIFFERENT}
    ):
        return failed(
            "not five words",
            f'`lock_life()` returned {as_text(said)}. Wanted is a list of five, each "{OK}" or'
            f' "{DIFFERENT}".',
        )
    if said == outcomes:
        return passed(
            f"The five steps were run on loops A and B: {' → '.join(outcomes)}. You predicted all"
            " five."
        )
    first = first_difference(said, outcomes)
    loop, use = _STEPS[first]
    words = f"Step {first + 1}, `{use}` on loop {loop}, did not give {said[first]!r}."
    if set(said) == {OK}:
        return failed(
            "binds never",
            f"{words}\nYou expect that a lock never belongs to a loop. What does a task need if it"
            " has to wait for the lock?",
        )
    if first == 1:
        return failed(
            "binds too early",
            f"{words}\nYou expect that the lock belongs to loop A by then. Did a task on A have to"
            " wait for it?",
        )
    if first == 2:
        return failed(
            "free use refused",
            f"{words}\nThe lock was free, and one task took it. Does a task check the loop if it"
            " does not have to wait?",
        )
    if first == 3:
        return failed(
            "first owner unnoticed",
            f"{words}\nOn which loop did a task first have to wait for this lock?",
        )
    return failed(
        "binds anew",
        f"{words}\nYou expect that the lock changed its loop in step 4. A wait that is refused"
        " does not bind the lock.",
    )


CHECKS["02.1"] = TaskCheck(
    answers=("lock_life",),
    given=("take", "share"),
    facts=_lock_outcomes,
    judge=_judge_lock,
    hints=(
        (
            "Ask one question of each step: does a task have to wait for the lock? With `take`"
            " alone, none has to."
        ),
        "The first wait binds the lock, for good. On which loop is it?",
        (
            "From then on a task that waits on another loop gets the error. Taking the free lock"
            " still works on any loop."
        ),
    ),
)


# 02.2 Five questions to a message

_MESSAGE = re.compile(
    r"Task <Task \w+ name='(?P<task>.*?)' coro=<(?P<code>\w+)\(\) .*> got Future "
    r"<Future (?P<future>\w+) cb=\[(?P<library>[^\s\]]+?)\(\).*\]> attached to a different loop",
    re.DOTALL,
)
_QUESTIONS = ("task", "code", "future", "library", "loops")


def _message_parts(given: Mapping[str, Any]) -> Data:
    found = _MESSAGE.fullmatch(given["message"]) if isinstance(given["message"], str) else None
    return {"facts": found.groupdict() if found else {}}


def _judge_reading(data: Data) -> Verdict:
    said, facts = value_of(data), data["facts"] | {"loops": "neither"}
    if len(facts) != len(_QUESTIONS):
        return failed(
            "another message",
            "`message` is another text now: run the cell that prints the message again.",
        )
    if (
        not isinstance(said, dict)
        or sorted(said) != sorted(_QUESTIONS)
        or not all(isinstance(text, str) for text in said.values())
    ):
        return failed(
            "not five answers",
            f"`reading()` returned {as_text(said)}. Wanted is a dict with a text for each of"
            f" {', '.join(_QUESTIONS)}.",
        )
    said = {question: text.strip().removesuffix("()").lower() for question, text in said.items()}
    right = {question: {facts[question].lower()} for question in _QUESTIONS}
    # Whose callback it is: the class alone says that too.
    right["library"].add(facts["library"].lower().rpartition(".")[0])
    wrong = [question for question in _QUESTIONS if said[question] not in right[question]]
    if not wrong:
        return passed("All five answers agree with the message of this run.")
    count = (
        f"{len(wrong)} of 5 answers {'does' if len(wrong) == 1 else 'do'} not fit the message:"
        f" {', '.join(wrong)}."
    )
    if "task" in wrong and said["task"] == facts["code"].lower():
        return failed(
            "code for task",
            f"{count}\nYou name the coroutine as the task. A task has a name of its own in the"
            " message.",
        )
    if "library" in wrong:
        return failed(
            "library not in cb",
            f"{count}\nYou name {said['library']!r}. The message names the library in one place,"
            " at the future: which name is in the brackets of `cb=`?",
        )
    if "loops" in wrong:
        return failed(
            "loops read into it",
            f"{count}\nYou say that the message names {said['loops']!r}. Search its text for a"
            " loop.",
        )
    if "future" in wrong:
        return failed(
            "future's state",
            f"{count}\nThe word after `Future` is its state. A future has no name.",
        )
    if "code" in wrong:
        return failed(
            "another coroutine",
            f"{count}\nYou name {said['code']!r}. Which coroutine was the task running when it got"
            " the future? The message has it in `coro=<…>`.",
        )
    return failed("misread", f"{count}\nThe task's name is in quotation marks, after `name=`.")


CHECKS["02.2"] = TaskCheck(
    answers=("reading",),
    given=("message",),
    facts=_message_parts,
    judge=_judge_reading,
    hints=(
        (
            "Read the message from left to right: `name=` belongs to the task, `coro=` to the"
            " code that it runs."
        ),
        (
            "The word after `<Future` is a state. `cb=` lists the functions that are called when"
            " the future is done."
        ),
        "You know the loops' names because you wrote the cell. Does the message know them?",
    ),
)


# 02.3 One for each loop

_DRAWN = ("A", "B", "brief 1", "brief 2", "brief 3")
_SHORT_LIVED = 60  # loops that come and go; CPython hands the address of a dead one to the next


def _observe_here(names: Mapping[str, Any]) -> Data:
    seen: dict[str, Any] = {
        "mailbox": False,
        "same": None,
        "apart": None,
        "stale": 0,
        "made": 0,
        "of_two": 0,
        "one_thread": None,
        "alive": 0,
    }
    loops: list[weakref.ref[Any]] = []

    class Mailbox:
        def __init__(self) -> None:
            self.born_on = weakref.ref(asyncio.get_running_loop())
            seen["made"] += 1

    def make() -> Mailbox:
        return watch.recorder.born(Mailbox(), "mailbox")

    async def ask() -> Any:
        found = here()
        if isinstance(found, Mailbox):
            with_loop = asyncio.get_running_loop()
            if found.born_on() is not with_loop:
                seen["stale"] += 1
            with watch.recorder.use(found):
                pass
        return found

    def asked(loop: str) -> Any:
        return watch.step(loop, "here()", ask)

    def short_lived(loop: str) -> None:
        loops.append(weakref.ref(watch.loop(loop).loop))
        asked(loop)
        watch.close(loop)

    def two_on_one_thread() -> bool:
        # So that the second loop cannot get the first one's address: that mistake has words of its
        # own.
        kept: list[Any] = []

        async def own() -> bool:
            kept.append(asyncio.get_running_loop())
            return here().born_on() is kept[-1]

        return all([asyncio.run(own()), asyncio.run(own())])

    with Watch(names) as watch:
        here = watch.plain_step("one_for_each_loop(make)", lambda: names["one_for_each_loop"](make))
        seen["function"] = callable(here)
        if not seen["function"]:
            return watch.data(**seen)
        first, other = asked("A"), asked("B")
        again = asked("A") if watch.well else None
        seen["same"], seen["apart"] = again is first, other is not first
        seen["mailbox"] = isinstance(first, Mailbox)
        seen["of_two"] = seen["made"]
        del first, other, again
        if watch.well and seen["mailbox"]:
            seen["one_thread"] = watch.plain_step("here()", two_on_one_thread)
        for number in range(
            _SHORT_LIVED
            if watch.well and seen["mailbox"] and seen["apart"] and seen["one_thread"]
            else 0
        ):
            short_lived(f"brief {number + 1}")
            # A loop dies young: the whole heap of a kernel need not be searched each time.
            gc.collect(1)
        gc.collect()
        seen["alive"] = sum(loop() is not None for loop in loops)
    data = watch.data(**seen)
    data["steps"] = data["steps"][:6]  # the rest is alike
    data["events"] = [event for event in data["events"] if event["loop"] in _DRAWN]
    return data


def _judge_here(data: Data) -> Verdict:
    if not data["function"]:
        return failed(
            "no function",
            f"`one_for_each_loop(make)` returned {as_text(value_of(data))}. Wanted is a function"
            " that can be called on every loop.",
        )
    if not data["mailbox"]:
        return failed(
            "no mailbox",
            f"The function returned {as_text(value_of(data, 1))} on loop A, and not what `make()`"
            " gives.",
        )
    if not data["apart"]:
        return failed(
            "one for all",
            "The function was called on loop A, then on loop B, and on B it returned the mailbox"
            " that was made on A.",
        )
    if not data["same"]:
        return failed(
            "a new one each time",
            "The function was called twice on loop A, and the second call returned another mailbox"
            " than the first.",
        )
    if data["of_two"] > 2:
        return failed(
            "made at every call",
            "Three calls, two on loop A and one on B, returned two mailboxes, and `make()` ran"
            f" {data['of_two']} times. When does your code call it?",
        )
    if not data["one_thread"]:
        return failed(
            "one for each thread",
            "Two loops ran on one thread, one after the other, as two calls of `asyncio.run` do."
            " The second got the mailbox of the first. A thread has one loop at a time, and"
            " many in its life.",
        )
    if data["stale"]:
        return failed(
            "the address of a dead loop",
            f"{_SHORT_LIVED} short-lived loops called the function, one after the other."
            f" {data['stale']} of them got the mailbox of an earlier loop, which is dead: your key"
            " is the same for both.",
        )
    if data["alive"] > 1:
        return failed(
            "dead loops kept",
            f"{_SHORT_LIVED} short-lived loops called the function and were closed. {data['alive']}"
            " of them are still in memory, held by your code.",
        )
    return passed(
        f"A and B each had a mailbox, and kept it. So did {_SHORT_LIVED} short-lived loops, and"
        " your code kept none of these loops in memory."
    )


CHECKS["02.3"] = TaskCheck(
    answers=("one_for_each_loop",),
    observe=_observe_here,
    judge=_judge_here,
    show=timeline_of("Your run"),
    hints=(
        (
            "`asyncio.get_running_loop()` gives the loop that runs the caller. Keep the mailboxes"
            " in a dictionary, made in `one_for_each_loop`, with a key for each loop."
        ),
        (
            "An `id` is an address, and a new object may get the address of a dead one. Use the"
            " loop object itself as the key."
        ),
        "A plain dictionary keeps its keys in memory. A `weakref.WeakKeyDictionary()` does not.",
    ),
    explains=(
        (
            "no running event loop",
            "no loop yet",
            (
                "`one_for_each_loop` is called at import, where no loop runs. Ask for the loop"
                " inside the function that you return."
            ),
        ),
    ),
)


# 02.4 Carry the value, not the future


_STRANGE = "a loop that is neither A nor B"


def _observe_carry(names: Mapping[str, Any]) -> Data:
    seen: dict[str, Any] = {"ordered_on": [], "sent_on": [], "sent": None, "pending": None}
    futures: list[asyncio.Future[str]] = []

    class Future(asyncio.Future[str]):
        def __await__(self) -> Any:
            # Where it is refused, as any wait on another loop would be.
            with watch.recorder.use(self):
                return (yield from super().__await__())

    def here() -> str:
        running = asyncio.get_running_loop()
        return next(
            (f"loop {name}" for name, loop in loops.items() if loop.loop is running), _STRANGE
        )

    async def order() -> asyncio.Future[str]:
        seen["ordered_on"].append(here())
        future: asyncio.Future[str] = watch.recorder.born(
            Future(loop=asyncio.get_running_loop()), "order"
        )
        future.get_loop().call_later(
            0.05,
            lambda: None if future.done() else future.set_result("report 7"),
        )
        futures.append(future)
        return future

    async def send(text: Any) -> str:
        seen["sent_on"].append(here())
        seen["sent"] = {"type": type(text).__name__} if type(text) is not str else text
        return f"sent {await text if text in futures else text}"

    with Watch(names) as watch:
        loops: dict[str, NamedLoop] = {"A": watch.loop("A"), "B": watch.loop("B")}
        watch.plain_step(
            "carry(A, B, order, send)", lambda: names["carry"](loops["A"], loops["B"], order, send)
        )
        seen["pending"] = sum(not future.done() for future in futures)
    return watch.data(**seen)


def _judge_carry(data: Data) -> Verdict:
    value, sent = value_of(data), data["sent"]
    if is_thing(value, "coroutine"):
        return failed(
            "async function",
            "`carry` is an `async def`: calling it gave a coroutine, and neither loop ran. It is"
            " called from a place without a loop.",
        )
    if not data["ordered_on"]:
        return failed(
            "nothing ordered",
            f"`order()` never ran on either loop; `carry` returned {as_text(value)}.",
        )
    if data["ordered_on"] != ["loop A"]:
        return failed(
            "ordered elsewhere",
            f"`order()` ran on {', then on '.join(data['ordered_on'])}; wanted was once, on A.",
        )
    if not data["sent_on"]:
        return failed(
            "nothing sent",
            f"`order()` ran on A, `send` never ran; `carry` returned {as_text(value)}.",
        )
    if data["sent_on"] != ["loop B"]:
        return failed(
            "sent elsewhere",
            f"`send` ran on {', then on '.join(data['sent_on'])}; wanted was once, on B.",
        )
    if sent != "report 7":
        return failed(
            "no text sent",
            f"`send` on loop B got {as_text(sent)}, not the text of the order.",
        )
    if value != "sent report 7":
        return failed(
            "nothing returned",
            f"`send` ran on B with the text of the order, and `carry` returned {as_text(value)}.",
        )
    return passed(
        "Your code waited for the order on A, and B got its text. Nothing that belongs to A went"
        " to B."
    )


CHECKS["02.4"] = TaskCheck(
    answers=("carry",),
    observe=_observe_carry,
    judge=_judge_carry,
    show=timeline_of("Your run"),
    hints=(
        "`await order()` gives a future, and that future belongs to A. Where can it be awaited?",
        ("Await a future on its own loop. Its result is a text, and a text belongs to no loop."),
        (
            "Write a small coroutine that awaits both on A: `await (await order())`. Give its"
            " result to `send` on B."
        ),
    ),
    explains=(
        (
            "attached to a different loop",
            "future crossed",
            "A future of loop A was awaited on loop B. Wait for it where it was made.",
        ),
        (
            "Result is not set",
            "not waited for",
            ("The order was not done yet. Await its future on loop A first."),
        ),
        (
            "did not end",
            "waited while A stood still",
            (
                "Loop A runs inside `A.run(…)` and at no other time. What could finish the"
                " future while your code waited?"
            ),
        ),
        (
            "runs coroutines, not Future",
            "future run",
            "`NamedLoop.run` takes a coroutine. A small `async def` that awaits the future is one.",
        ),
    ),
)
