"""From a pasted text to facts: lines without gutters, one block for each error, its frames."""

from __future__ import annotations

import bisect
import html
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import BinaryIO

from loopbound.faults.signs import (
    CLIENTS,
    CUT_OFF,
    FOLLOWERS,
    FRAMEWORKS,
    GLOBAL,
    LIBRARIES,
    MESSAGES,
    SITUATIONS,
)

WHOLE = 4_000_000
"""Bytes up to which a text is read whole; of a longer one, the parts around what is known."""
_CHUNK = 1_000_000  # bytes that are read of it at once
_NO_CONTROLS = bytes({*b"\n\r\t\x1b\x0c\x08", *range(32, 256)})
_END = 500_000  # of a long text, how much of its beginning and its end is kept
_AROUND = 20_000  # and how much before and after each place that may matter
_ANCHORS = (
    b"different loop",
    b"different event loop",
    b"loop is closed",
    b"operation is in progress",
    b"running event loop",
    b"current event loop",
    b"cancel scope",
    b"different Context",
    b"ScopeMismatch",
    b"event_loop",
    b"idle in transaction",
    b"middle of operation",
    b"greenlet_spawn",
    b"QueuePool limit",
    b"not available",
)

_ANSI = re.compile(
    r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]{0,200}(?:\x07|\x1b\\)"
    r"|\^?\[(?:\d{1,3};){0,3}\d{1,3}m|[\x00-\x08\x0b-\x1f\x7f-\x9f]"
)
_STAMP = r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?"
_GUTTER = re.compile(
    rf"(?:[\w.-]{{1,60}}\s*\|\s(?=.)|{_STAMP}\s+(?:std(?:out|err) [FP] |(?:\[[a-z][a-z ]{{1,30}}\] )*)"
    r"|[A-Z][a-z]{2}\s+\d+ \d\d:\d\d:\d\d \S{1,60} \S{1,60}?\[\d+\]: |\[gw\d+\] (?!\[)"
    r"|(?:> ?){1,4}(?=File |Traceback|E  | )|E   ?|\s*(?:\+\s*)?\|\s(?=\s*\S)|│\s?)"
)
# A newline as a string of JSON has it, or JSON in JSON; not the \n of C:\Users\nina\app.py.
_NEWLINE = re.compile(
    r"""(?:\\{1,8}r)?\\{1,8}n(?![\w.-]{1,200}(?:\\{1,8}(?!\\|n\b|r\\|")|\.py\\{0,8}"))"""
)
_ESCAPES = re.compile(r"""\\+(?="|\\)""")
_PLACE = re.compile(r"""(?:^|\s)[^\s"']+\.py:\d+: [\w.]+\s*$""")  # pytest's; its \n is a path's
_HEADER = re.compile(
    r"(?:_{3,} .{1,200} _{3,}|={3,} .{1,200} ={3,}|-{3,} [Cc]aptured .{1,60} -{3,})\s*$"
)
_RECORD = re.compile(
    rf"\[?(?:{_STAMP}).{{0,40}}(?:ERROR|CRITICAL|WARNING)"
    r"|(?:ERROR|CRITICAL|WARNING)\b.{0,30}[:\s]|Exception ignored in"
    r"|Task exception was never retrieved|Exception in thread|--- Logging error"
)
_CHAIN = re.compile(
    r"The above exception was the direct cause|During handling of the above exception"
)
_FIXTURES = re.compile(
    r"availablefixtures:.{1,9000}?use'pytest--fixtures"
)  # in a text without blanks
_SUMMARY = re.compile(r"(?:FAILED|ERROR) \S+\.py\S*(?: - |$)")
_LOGGED = re.compile(r"-{3,} [Cc]aptured .{1,60} -{3,}\s*$")
# The last line of pytest, or of unittest, about a run.
_ENDED = re.compile(
    r"=*\s*((?:\d+ \w+, )*\d+ \w+ in \d[\d.]*s(?: \([\d:]+\))?)\s*=*\s*$"
    r"|(Ran \d+ tests? in [\d.]+s|FAILED \(.{1,99}\))$"
)
_FRAME = re.compile(
    r"""File "(?P<a>[^"\n]{1,400})", line (?P<al>\d+)(?:, in (?P<af>[^\s(]+))?"""
    r"""|File (?P<b>[^\s"]{1,400}?\.py):(?P<bl>\d+)(?:, in (?P<bf>[^\s(]+))?"""
    r"""|(?P<c>Cell In ?\[\d+\]|Input In ?\[\d+\]), (?:line (?P<cl>\d+)|in)"""
    r"""|^(?P<d>(?:[A-Za-z]:)?[^\s:"'<>|]{1,400}\.py):(?P<dl>\d+)"""
    r"""(?:: in (?P<df>[^\s(]+)|: |:?$| in (?P<dg>\w+))"""
)
_RUNNING_AT = re.compile(
    r"(?:coro=<)?(\w+)\(\) running at ([^\s:>]{1,300}\.py|[A-Z]:[^\s:>]{1,300}\.py):(\d+)"
)
_NOT_YOURS = re.compile(
    r"(?:site|dist)-packages/|/lib(?:64)?/python\d|\.pyx$|/python[\d.]+/lib/"
    r"|/(?:python|cpython)[\w.-]*/lib/|^<|/ipykernel_"
    r"|^(?:asyncio|asyncpg|sqlalchemy|_pytest|pluggy|anyio|starlette|fastapi|httpx|httpcore|redis"
    r"|uvicorn|celery|grpc|pymongo|aiohttp|contextlib|threading)[./]",
    re.IGNORECASE,
)
_PACKAGE = re.compile(r"(?:site|dist)-packages/([A-Za-z_]\w{0,60})")
_PORTAL = "anyio/from_thread.py"
_PLUGINS = re.compile(r"plugins: (.{1,400})")
_PLUGIN = re.compile(r"(asyncio|anyio|timeout|xdist)-(\d[\w.]*)")
_PYTHON = re.compile(r"Python (3\.\d+)(?:\.\d+)?|python(3\.\d+)/(?:site|dist)-packages")
_PYTEST = re.compile(r"pytest-(\d+\.\d+[\w.]*)")
_SQLALCHEMY = re.compile(r"sqlalche\.me/e/(\d)(\d)/")
_SCOPES = re.compile(
    r"asyncio_default_fixture_loop_scope=(\w+)(?:, asyncio_default_test_loop_scope=(\w+))?"
)
_PROGRESS = re.compile(r"(?:\S+\.py )?(?P<letters>[.FEsxX]{1,300})(?:\s+\[ *\d+%\])?\s*$")
_VERBOSE = re.compile(r"\S+\.py::\S.{0,200} (PASSED|FAILED|ERROR)\b")
# In pytest's long form: what a function of the traceback was called with.
_ARGUMENT = re.compile(r"[A-Za-z_]\w* = ")
_LAST = re.compile(
    r"(?:E +)?((?:[\w]+\.)*[A-Z]\w*(?:Error|Exception|Warning|Timeout|Interrupt|Group|Failed)\b"
    r".{0,160})"
)


@dataclass(frozen=True)
class Frame:
    """One line of a traceback: where, in which function, and whether it is of the reader's code."""

    path: str
    line: str
    function: str
    yours: bool
    at: int  # the line of the text

    def __str__(self) -> str:
        place = f"{self.path}:{self.line}" if self.line else self.path
        return f"{place}, in {self.function}" if self.function else place


@dataclass
class Block:
    """The lines of one error, and what they show."""

    first: int
    last: int
    facts: set[str] = field(default_factory=set)
    messages: set[str] = field(default_factory=set)
    speaker: str = ""
    said_by: str = ""
    met: Frame | None = None


@dataclass
class Reading:
    """What was read of a text.

    Attributes:
        blocks: those that show a message that is known, leading ones only if there are any.
        counts: how often what each message says happened, by the phrase that found it first.
        versions: package → version, as the text itself says.
        others: last lines of errors that no message here explains.
        passed: the last line of a run of tests of which none failed.
        empty: there is no text.
        left_out: bytes of a long text that were not looked at closely.
    """

    blocks: list[Block]
    counts: dict[str, int]
    versions: dict[str, str]
    others: list[str]
    passed: str = ""
    left_out: int = 0
    empty: bool = False


def _squeezed(phrase: str) -> re.Pattern[str]:
    parts = [re.escape(re.sub(r"\s+", "", part)) for part in phrase.split("…")]
    return re.compile(".{0,300}?".join(parts))


def _table(phrases: dict[str, tuple[str, ...]]) -> list[tuple[str, str, re.Pattern[str], str]]:
    """For each phrase its fact, how it begins, what finds it in a text without blanks, itself."""
    return [
        (name, re.sub(r"\s+", "", phrase.partition("…")[0]), _squeezed(phrase), phrase)
        for name, group in phrases.items()
        for phrase in group
    ]


_PROGRAM = {"celery", "lambda", "server", "asyncio-run", "jupyter", "prefork"}
_MESSAGES, _LIBRARIES, _SITUATIONS = _table(MESSAGES), _table(LIBRARIES), _table(SITUATIONS)
_CUT_OFF = _table(CUT_OFF)


def taken(stream: BinaryIO) -> tuple[bytes, int]:
    """What of a stream has to be looked at, and how many bytes were left out. Memory is bounded."""
    window = stream.read(WHOLE)
    more = stream.read(_CHUNK)
    if not more:
        return window, 0
    kept, room = [window[:_END]], WHOLE
    begin, search, done = 0, _END, _END  # places in the stream: of the window, and in it
    while True:
        total = begin + len(window)
        found = (window.find(anchor, search - begin) for anchor in _ANCHORS)
        for place in sorted(begin + at for at in found if at >= 0):
            start, stop = max(done, place - _AROUND), min(place + _AROUND, total)
            if room > 0 and stop > start:
                kept += [b"\n" if start > done else b"", window[start - begin : stop - begin]]
                room -= stop - start
                done = stop
        if not more:
            break
        begin, search = total - _END, total - _AROUND  # what stands at the end goes on in the next
        window, more = window[-_END:] + more, stream.read(_CHUNK)
    start = max(done, total - _END)
    kept += [b"\n" if start > done else b"", window[start - begin :]]
    data = b"".join(kept)
    return data, max(0, total - len(data))


def text_of(data: bytes) -> str | None:
    """The text of some bytes, or None if they are none."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16", errors="replace")
    even, odd = data[:400:2], data[1:400:2]
    if len(data) > 3 and odd.count(0) > len(odd) * 0.7 and even.count(0) < len(even) * 0.3:
        return data.decode("utf-16-le", errors="replace")  # PowerShell's, its mark cut off
    text = data.decode("utf-8", errors="replace").removeprefix("\ufeff")
    # In another encoding than UTF-8 the messages are the same. A tenth of an archive are controls.
    sample = data[:20_000] + data[-20_000:]
    controls = len(sample.translate(None, _NO_CONTROLS))
    return None if controls > max(8, len(sample) * 0.05) else text


def read(text: str, left_out: int = 0) -> Reading:
    """Read a text; nothing in it is run or trusted."""
    lines, quoted = _lines(text)
    if not any(line.strip() for line in lines):
        return Reading([], {}, {}, [], empty=True)
    flat, starts = _flat(lines)

    def among(
        table: list[tuple[str, str, re.Pattern[str], str]],
    ) -> list[tuple[int, str, int, int, str]]:
        return [
            (line, name, match.start(), match.end(), phrase)
            for name, begin, pattern, phrase in table
            if begin in flat
            for match in pattern.finditer(flat)
            if (line := bisect.bisect_right(starts, match.start()) - 1) not in quoted
            and not (name == "no-running-loop" and _handled(lines, line))
        ]

    found = among(_MESSAGES) or among(_CUT_OFF)
    edges = _edges(lines)
    frames = _frames(lines)
    blocks: dict[int, Block] = {}
    for line, name, start, end, _ in sorted(found):
        index = bisect.bisect_right(edges, line) - 1
        block = blocks.get(index)
        if block is None:
            last = edges[index + 1] - 1 if index + 1 < len(edges) else len(lines) - 1
            block = blocks[index] = Block(edges[index], last)
            _see(block, flat, starts)
        # Once for each message: a text of a million of them is read in seconds, too.
        if not block.speaker and name not in block.messages:
            block.met = _met(block, lines, frames, line)
            below = starts[block.met.at] if block.met and block.met.at < line else 0
            block.speaker, block.said_by = _speaker(flat, starts[block.first], start, end, below)
        block.messages.add(name)
    seen = {name for block in blocks.values() for name in block.messages}
    everywhere = {
        name
        for name, begin, pattern, _ in _SITUATIONS
        if name in GLOBAL and begin in flat and pattern.search(flat)
    } | _header(lines)
    # Each version of pytest-asyncio has this fixture, and each one since 0.17 this option.
    available = _FIXTURES.search(flat)
    lacks_fixture = available is not None and "unused_tcp_port" not in available[0]
    if lacks_fixture or "Unknownconfigoption:asyncio_mode" in flat:
        everywhere.add("no-asyncio-plugin")
    for block in blocks.values():
        block.facts |= block.messages | everywhere | {f"text:{name}" for name in seen}
        if not block.facts & {"pytest", "unittest"} and block.facts & _PROGRAM:
            block.facts.add("program")
        if block.speaker:
            block.facts |= {f"by:{block.speaker}", "by-any"}
            if block.speaker in CLIENTS or block.speaker not in LIBRARIES:
                block.facts.add("other-client")
    ordered = [blocks[index] for index in sorted(blocks)]
    # One message may hold several of its phrases: the first one says how often it came.
    phrases: dict[str, str] = {}
    for _, name, _, _, phrase in found:
        phrases.setdefault(name, phrase)
    told = Counter(
        (phrase, bisect.bisect_right(edges, line) - 1) for line, _, _, _, phrase in found
    )
    repeats = _repeats(lines, edges)
    counts = {}
    for phrase in phrases.values():
        mine = {index: times for (said, index), times in told.items() if said == phrase}
        own = mine.keys() - repeats or mine.keys()
        # One error says its words on the way, too; a log without tracebacks has a line for each.
        counts[phrase] = sum(1 if _has_frame(blocks[at], frames) else mine[at] for at in own)
    others = _others(lines, edges, set(blocks))
    return Reading(
        _leading(ordered), counts, _versions(lines), others, _passed(lines), left_out=left_out
    )


def _lines(text: str) -> tuple[list[str], set[int]]:
    """The lines without their gutters, and the numbers of those that only quote a source."""
    if "&lt;" in text or "&#x27;" in text:
        text = html.unescape(text)
    lines: list[str] = []
    for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n"):
        packed = "Traceback" in line or 'File \\"' in line or "Error" in line
        if "\\n" in line and packed and not _PLACE.search(line):
            # A log of JSON has the whole traceback in one string.
            lines += (_ESCAPES.sub("", part) for part in _NEWLINE.split(line))
        else:
            lines.append(line)
    quoted: set[int] = set()
    inside = False  # what pytest shows of one failure: functions whole, their strings too
    for number, line in enumerate(lines):
        lines[number], is_said = _clean(line)
        if _HEADER.match(lines[number]):
            inside = lines[number].startswith("___")
        elif not is_said and (
            (inside and (lines[number].startswith("    ") or _ARGUMENT.match(lines[number])))
            or lines[number].lstrip().startswith("raise ")
        ):
            quoted.add(number)
    return lines, quoted


def _clean(line: str) -> tuple[str, bool]:
    """A line without colours and gutters, and whether pytest's own mark of an error was there."""
    line = _ANSI.sub("", line[:100_000])
    is_said = False
    for _ in range(4):
        match = _GUTTER.match(line)
        if not match or not match.end():
            break
        is_said = is_said or match[0].startswith("E ")
        line = line[match.end() :]
    return line.replace("\\", "/").rstrip(), is_said


def _flat(lines: list[str]) -> tuple[str, list[int]]:
    """The text without blanks, and where in it each line begins."""
    parts, starts, at = [], [], 0
    for line in lines:
        part = "".join(line.replace("│", "").split())
        starts.append(at)
        parts.append(part)
        at += len(part)
    return "".join(parts), starts


def _edges(lines: list[str]) -> list[int]:
    """Where blocks begin."""
    edges, finished, chained = [0], False, False
    for number, line in enumerate(lines):
        new = False
        if _HEADER.match(line) or _SUMMARY.match(line):
            new, finished, chained = True, False, False
        elif line.lstrip().startswith("Traceback (most recent call last)"):
            new = finished and not chained
            finished = chained = False
        elif _CHAIN.search(line):
            chained = True
        elif _RECORD.match(line) and not line.startswith("E "):
            new, finished, chained = True, False, False
        elif line and not line[0].isspace() and _LAST.match(line):
            finished = True
        if new and number > edges[-1]:
            edges.append(number)
    return edges


def _repeats(lines: list[str], edges: list[int]) -> set[int]:
    """Which blocks say again what a failure has said: pytest's summary, and a test's own log."""
    found, logged = set(), False
    for index, edge in enumerate(edges):
        if _HEADER.match(lines[edge]):
            logged = _LOGGED.match(lines[edge]) is not None
        if logged or _SUMMARY.match(lines[edge]):
            found.add(index)
    return found


def _has_frame(block: Block, frames: list[Frame]) -> bool:
    at = bisect.bisect_left(frames, block.first, key=lambda frame: frame.at)
    return at < len(frames) and frames[at].at <= block.last


def _passed(lines: list[str]) -> str:
    """The last line of a run of tests, if it and those of runs before it tell of no failure."""
    ends = [match[1] or match[2] for line in lines if (match := _ENDED.match(line))]
    failed = any(re.search(r"\b(?:failed|errors?|FAILED)\b", end) for end in ends)
    return "" if failed or not ends else ends[-1]


def _handled(lines: list[str], number: int) -> bool:
    """Whether an error's last line is followed by another one, raised while it was handled."""
    following = (line for line in lines[number + 1 : number + 4] if line.strip())
    return next(following, "").lstrip().startswith("During handling of the above exception")


def _frames(lines: list[str]) -> list[Frame]:
    found = []
    for number, line in enumerate(lines):
        if ".py" not in line and "In" not in line and 'File "' not in line:
            continue
        for match in _FRAME.finditer(line[:2000]):
            path = match["a"] or match["b"] or match["c"] or match["d"]
            at = match["al"] or match["bl"] or match["cl"] or match["dl"] or ""
            function = match["af"] or match["bf"] or match["df"] or match["dg"] or ""
            found.append(Frame(path, at, function, not _NOT_YOURS.search(path), number))
    return found


def _see(block: Block, flat: str, starts: list[int]) -> None:
    """Note the situations of a block."""
    begin = starts[block.first]
    end = starts[block.last + 1] if block.last + 1 < len(starts) else len(flat)
    part = flat[begin:end]
    block.facts |= {
        name for name, first, pattern, _ in _SITUATIONS if first in part and pattern.search(part)
    }


def _speaker(flat: str, begin: int, start: int, end: int, below: int) -> tuple[str, str]:
    """The library that speaks last before a message ends, and by what it was known; of those that
    are not known here, one that the reader's deepest line, at `below`, has called.
    """
    best, best_at, by = "", -1, ""
    # What stands before a portal is its caller's: TestClient itself is built on httpx.
    begin = max(begin, flat.rfind(_PORTAL, begin, start))
    # A message names its future first and its words after; a class may follow in the same line.
    part = flat[begin : end + 200]
    for name, first, pattern, _ in _LIBRARIES:
        at = part.rfind(first)
        if at > best_at and pattern.match(part, at):
            best, best_at, by = name, at, first
    if not best:
        packages = [
            name
            for name in _PACKAGE.findall(flat, max(begin, below), start)
            if name not in FRAMEWORKS
        ]
        return (packages[-1], f"{packages[-1]}/") if packages else ("", "")
    callback = "Protocol._on_waiter_completed"
    return best, callback if best == "asyncpg" and callback in part else by


def _met(block: Block, lines: list[str], frames: list[Frame], line: int) -> Frame | None:
    """The line of the reader's code that met the error: the deepest one before its message."""
    first, here, last = (
        bisect.bisect_left(frames, number, key=lambda frame: frame.at)
        for number in (block.first, line + 1, block.last + 1)
    )
    mine = [frame for frame in frames[first:here] if frame.yours]
    if mine:
        return mine[-1]
    for number in range(line, min(line + 4, len(lines))):
        if found := _RUNNING_AT.search(lines[number]):
            function, path, at = found.groups()
            if not _NOT_YOURS.search(path):
                return Frame(path, at, function, True, number)
    after = [frame for frame in frames[here:last] if frame.yours]
    return after[-1] if after else None


def _leading(blocks: list[Block]) -> list[Block]:
    """Without the blocks that only follow from others."""
    lead = [
        block
        for block in blocks
        if block.messages - FOLLOWERS
        and not block.messages & {"closing-failed", "terminating-failed"}
    ]
    if lead:
        speakers = {block.speaker for block in lead}
        for block in lead:
            block.facts -= FOLLOWERS & block.messages - {"never-awaited"}
        # What another library says does not follow from these.
        return lead + [block for block in blocks if block.speaker and block.speaker not in speakers]
    return [block for block in blocks if block.messages - FOLLOWERS] or blocks


def _header(lines: list[str]) -> set[str]:
    """Facts of pytest's header and of its line of letters."""
    facts: set[str] = set()
    for line in lines:
        if found := _SCOPES.search(line):
            for option, scope in zip(("fixture", "test"), found.groups(), strict=True):
                if scope not in (None, "None"):
                    facts.add(f"set:asyncio_default_{option}_loop_scope={scope}")
            fixture, test = found[1], found[2] or "function"
            # Unset: the fixture's own scope, so nothing is known.
            facts.add(
                "header:scopes-unset"
                if fixture == "None"
                else "header:scopes-equal"
                if fixture == test
                else "header:scopes-differ"
            )
            break
    header = [line for line in lines if line.startswith(("plugins: ", "collected ", "collecting "))]
    whole = bool(header) and any("test session starts" in line for line in lines)
    if whole and not any(name in line for name in ("asyncio-", "anyio-") for line in header):
        facts.add("no-asyncio-plugin")
    for line in lines:
        verbose, short = _VERBOSE.match(line), _PROGRESS.match(line)
        letter = verbose[1][0] if verbose else short["letters"].lstrip("sx")[:1] if short else ""
        if letter:
            facts.add("later-test" if letter in ".P" else "first-test")
            break
    return facts


def _versions(lines: list[str]) -> dict[str, str]:
    """What the text itself says of versions."""
    said: dict[str, str] = {}
    for line in lines:
        if found := _PLUGINS.search(line):
            for name, version in _PLUGIN.findall(found[1]):
                said.setdefault(name if name == "anyio" else f"pytest-{name}", version)
        if "ython" in line and (found := _PYTHON.search(line)):
            said.setdefault("python", found[1] or found[2])
        if "pytest-" in line and (found := _PYTEST.search(line)):
            said.setdefault("pytest", found[1])
        if "sqlalche.me" in line and (found := _SQLALCHEMY.search(line)):
            said.setdefault("sqlalchemy", f"{found[1]}.{found[2]}")
    return said


def _others(lines: list[str], edges: list[int], known: set[int]) -> list[str]:
    """The last line of each error in blocks without a known message."""
    found = []
    for index, edge in enumerate(edges):
        if index in known:
            continue
        end = edges[index + 1] if index + 1 < len(edges) else len(lines)
        said = [match[1] for line in lines[edge:end] if (match := _LAST.match(line))]
        if said:
            found.append(said[-1].strip())
    return list(dict.fromkeys(found))
