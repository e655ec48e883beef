"""The rules that hold over the whole set of lessons. They read files; nothing is executed.

Each rule is a function of the whole ``Course``, registered under a name by ``@rule``.
``nbtests/test_rules.py`` shows for each of them a broken notebook that it finds.
"""

from __future__ import annotations

import ast
import builtins
import itertools
import json
import re
import socket
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from prose import comments, names, pictures_in_html, prose

from loopbound.authoring.finding import Finding
from loopbound.authoring.normal_form import QUESTION, RESULT, TAGS, form_differences
from loopbound.authoring.pages import Course, Page, claim_exists, claims_of
from loopbound.course.manifest import honest_minutes

CELLS = (12, 55)
WORDS = (300, 1200)
WORDS_DEEPER = 1500
WORDS_BESIDE = 500  # of a page beside the lessons, at most
WORDS_A_CELL = (25, 50)  # the mean
EXPLANATION = '<details class="explanation"><summary>Explanation</summary>'
WORDS_IN_ONE_CELL = 90
LINES_A_CELL = 6  # the mean, without what is folded
LINES_IN_ONE_CELL = 45
IMPORT_LINES = 3
MINUTES_ASIDE = 3  # announced are multiples of five
PLUMBING = 0.15  # of the visible lines of code, at most
LINES_BEFORE_A_RESULT = 10
_OWN = ast.expr | ast.withitem
# Calls that take text apart, and calls that a comprehension may make and still only rearranges.
_TEXT = (
    r"[rl]?(strip|split|partition|just)|splitlines|remove(pre|suf)fix|(starts|ends)with|index"
    r"|findall|search|sub|(full)?match|groups|getsource|extract_tb|unified_diff"
)
_REARRANGE = (
    rf"{_TEXT}|items|values|keys|get|count|append|join|{'|'.join({*dir(builtins)} - {'dict'})}"
)

CORE_MINUTES = 180
CORE_LESSON_MINUTES = 30
COLUMNS = 100

GLOSSARY = "glossary.md"

HARNESS = "# Setup: run it, no need to read it."

BANNED = re.compile(r"\b(simply|just|obvious|obviously|note that|foo)\b", re.IGNORECASE)
# In prose a bar is a part of a figure.
BANNED_NAMES = re.compile(r"\b(foo|bar|baz)\b", re.IGNORECASE)
AMERICAN = re.compile(
    r"\b(behaviors?|color(?:s|ed|ing|ful)?|favor(?:s|ed|ite|able)?|center(?:s|ed)?|neighbors?|flavors?"
    r"|gray|honor(?:s|ed)?|labor|analyz(?:e|es|ed|er|ing)|cancel(?:ed|ing)|label(?:ed|ing)|model(?:ed|ing)|travel(?:ed|ing)"
    r"|catalog|defense|fulfill|skillful|artifacts?)\b",
    re.IGNORECASE,
)
_MACHINE_PATH = re.compile(
    r"(?:(?<![\w.…>:/])/(?:home|root|Users|usr|opt|tmp|var|private|mnt|srv|work)/|\b[A-Za-z]:\\+)[^\s'\"]*"
)
_IP = re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w.]*\d)")
_DATABASE_HOST = re.compile(r"postgres(?:ql)?(?:\+\w+)?://(?:[^@\s/'\"]*@)?([^:/\s'\"]+)")


# "| [01 What a loop is](01-….ipynb) | 20 |", with the link or without.
_MAP_ROW = re.compile(
    r"^\|\s*\[?(\d\dd?) ([^\]|]+?)(?:\]\([^)]*\))?\s*\|\s*(\d+)\s*\|", re.MULTILINE
)

Rule = Callable[[Course], Iterable[Finding]]
RULES: dict[str, Rule] = {}


def check(course: Course, only: Iterable[str] | None = None) -> list[Finding]:
    """Everything that the rules (all, or those named) find wrong with a course."""
    return [
        finding for name in (RULES if only is None else only) for finding in RULES[name](course)
    ]


def rule(function: Rule) -> Rule:
    """Registers a rule under its function's name."""
    RULES[function.__name__] = function
    return function


def _of_each_page(function: Callable[[Page], Iterable[Finding]]) -> Rule:
    """Registers a rule that looks at one notebook at a time."""

    def over_all(course: Course) -> Iterator[Finding]:
        for page in course.pages:
            yield from function(page)

    RULES[function.__name__] = over_all
    return over_all


def _of_each_lesson(function: Callable[[Page], Iterable[Finding]]) -> Rule:
    """Registers a rule that looks at one notebook at a time, and not at pages beside the lessons."""

    def over_lessons(course: Course) -> Iterator[Finding]:
        for page in course.pages:
            if page.entry is None or page.lesson:
                yield from function(page)

    RULES[function.__name__] = over_lessons
    return over_lessons


def _of_each_core_lesson(function: Callable[[Page], Iterable[Finding]]) -> Rule:
    """Registers a rule that looks at one notebook at a time, and not at deeper ones."""

    def over_core(page: Page) -> Iterable[Finding]:
        return [] if page.lesson and page.lesson.deeper else function(page)

    over_core.__name__ = function.__name__
    return _of_each_lesson(over_core)


# Form and order


@_of_each_page
def in_normal_form(page: Page) -> Iterator[Finding]:
    """The file is what ``loopbound format`` would write."""
    for cell, what in form_differences(page.text, page.file):
        yield Finding(page.file, cell, f"not in normal form: {what}")


@rule
def files_are_the_manifest(course: Course) -> Iterator[Finding]:
    """The files are the manifest's; the lessons, sorted by name, are in its order."""
    files = [page.file for page in course.pages]
    wanted = [notebook.file for notebook in course.notebooks]
    for file in wanted:
        if file not in files:
            yield Finding(file, None, "is in the manifest and not in notebooks/")
    for file in files:
        if file not in wanted:
            yield Finding(file, None, "is in notebooks/ and not in the manifest")
    numbered = [lesson.file for lesson in course.lessons]
    if numbered != sorted(numbered):
        yield Finding(
            "course.toml", None, "names its lessons in another order than their file names sort in"
        )


@rule
def maps_are_the_manifest(course: Course) -> Iterator[Finding]:
    """The README's table of lessons gives every lesson's title and minutes as the manifest does;
    one in a lesson those of the core path.
    """
    wanted = {lesson.number: (lesson.title, lesson.minutes) for lesson in course.lessons}
    core = {lesson.number for lesson in course.lessons if not lesson.deeper}
    maps = [
        (page.file, [(cell.get("id"), cell["source"]) for cell in page.of_kind("markdown")])
        for page in course.pages
    ]
    readme = course.root / "README.md"
    for file, texts in [
        *maps,
        ("README.md", [(None, readme.read_text(encoding="utf-8") if readme.is_file() else "")]),
    ]:
        found = [(cell, *row) for cell, text in texts for row in _MAP_ROW.findall(text)]
        if not found and file != "README.md":
            continue
        rows = {number: (title, int(minutes)) for _, number, title, minutes in found}
        cells = {number: cell for cell, number, *_ in found}
        for number in sorted({*rows, *(wanted if file == "README.md" else core)}):
            if rows.get(number) != wanted.get(number):
                what = (
                    f"its map has lesson {number} as {rows.get(number)}, the manifest as"
                    f" {wanted.get(number)}"
                )
                yield Finding(file, cells.get(number), what)


@_of_each_page
def known_tags_only(page: Page) -> Iterator[Finding]:
    """Cells carry no tags and no metadata of the course but the documented ones."""
    for cell in page.cells:
        for tag in cell.get("metadata", {}).get("tags", []):
            if tag not in TAGS:
                yield page.finding(cell, f"has the tag {tag!r}; known are {', '.join(TAGS)}")
        for key in cell.get("metadata", {}).get("loopbound", {}):
            if key != "claims":
                yield page.finding(cell, f"has metadata loopbound.{key}; known is claims")


@_of_each_page
def folds_hide_no_experiment(page: Page) -> Iterator[Finding]:
    """A cell of the harness says that it is one; a prediction and its comparison, which are folded
    too, have cells of their own, with a first line that says so.
    """
    for cell in page.of_kind("code"):
        harness = "harness" in cell["metadata"].get("tags", ())
        if harness and not cell["source"].startswith(HARNESS):
            yield page.finding(cell, f"is tagged harness and does not begin with {HARNESS!r}")
        for begins, what in ((QUESTION, r"\w+ = predict\("), (RESULT, r"\w+\.compare\(")):
            place = re.search(f"^{what}", cell["source"], re.MULTILINE)
            if place and cell["source"][: place.start()] != begins:
                yield page.finding(cell, f"has other code before {place[0]!r} than {begins!r}")


@_of_each_lesson
def explanations_are_folded(page: Page) -> Iterator[Finding]:
    """What explains a comparison, the first text after it, is folded: it answers the question."""
    compared = False
    for cell in page.cells:
        if compared and cell["cell_type"] == "markdown":
            compared = False
            if not cell["source"].startswith(("#", EXPLANATION)):
                yield page.finding(cell, f"explains a comparison: begin it with {EXPLANATION}")
        compared = compared or ".compare(" in cell["source"]


# Core and deeper


@rule
def core_takes_two_evenings(course: Course) -> Iterator[Finding]:
    """The core's lessons take at most three hours together, and none of them more than half an
    hour.
    """
    core = [each for each in course.lessons if not each.deeper]
    for each in core:
        if each.minutes > CORE_LESSON_MINUTES:
            what = f"takes {each.minutes} minutes, at most {CORE_LESSON_MINUTES} are wanted"
            yield Finding(each.file, None, f"{what}; move a part into a deeper notebook")
    if (total := sum(each.minutes for each in core)) > CORE_MINUTES:
        yield Finding(
            "course.toml", None, f"its core takes {total} minutes, wanted are {CORE_MINUTES}"
        )


@rule
def deeper_and_core_are_linked(course: Course) -> Iterator[Finding]:
    """A deeper notebook says in its opening that it is deeper than which lesson, with a link; that
    lesson's last Markdown cell links it.
    """
    pages = {page.file: page for page in course.pages}
    for each in (each for each in course.lessons if each.deeper and each.file in pages):
        opening = pages[each.file].cells[0]
        own = each.number.removesuffix("d") if each.number.endswith("d") else ""
        core = [
            other.file
            for other in course.lessons
            if (other.number == own if own else not other.deeper)
            and f"]({other.file})" in opening["source"]
        ]
        if "deeper" not in opening["source"].lower():
            yield pages[each.file].finding(opening, "does not say that it is deeper")
        if not core:
            yield pages[each.file].finding(
                opening, f"does not link lesson {own or 'of the core'}, which it adds to"
            )
        if not any(
            f"]({each.file})" in pages[file].of_kind("markdown")[-1]["source"] for file in core
        ):
            yield Finding(each.file, None, "is not linked at the end of its lesson")


@_of_each_core_lesson
def ends_in_the_reader_s_project(page: Page) -> Iterator[Finding]:
    """A lesson of the core ends with something to try at home, and with a sentence on what the next
    one adds.
    """
    cell = page.cell("in-your-project")
    if cell is None or "## In your project" not in cell["source"]:
        yield page.finding(cell, "has no cell 'in-your-project' under that heading")
    recap = page.cell("recap")
    following = re.search(r"^Next: .*\]\([^)]*\)(.*)", recap["source"] if recap else "", re.M)
    if following is None or len(following[1].split()) < 4:
        yield page.finding(recap, "does not say after 'Next:' what the next lesson adds")


@_of_each_lesson
def code_fits_the_screen(page: Page) -> Iterator[Finding]:
    """No line of code is longer than 100 columns."""
    yield from _long_lines(page)


@rule
def exercises_fit_the_screen(course: Course) -> Iterator[Finding]:
    """No line of an exercise's code is longer than 100 columns, its solution's neither."""
    for path in sorted((course.root / "solutions").glob("*/*.ipynb")):
        yield from _long_lines(Page(path, path.read_text(encoding="utf-8"), None))


def _long_lines(page: Page) -> Iterator[Finding]:
    for cell in page.of_kind("code"):
        for line in cell["source"].splitlines():
            if len(line) > COLUMNS:
                yield page.finding(cell, f"has a line of {len(line)} columns", line)


# Cells with a role


@_of_each_page
def opens_with_title_and_minutes(page: Page) -> Iterator[Finding]:
    """The first cell has the manifest's number, title and minutes, and a sentence of what the
    reader will do.
    """
    cell = page.cells[0] if page.cells else None
    if cell is None or cell.get("id") != "opening" or cell["cell_type"] != "markdown":
        yield page.finding(cell, "the first cell is not the Markdown cell 'opening'")
    elif page.entry:
        lines = cell["source"].splitlines()
        if lines[:1] != [page.entry.heading]:
            yield page.finding(cell, f"starts with {lines[:1]}, wanted is {page.entry.heading!r}")
        if (minutes := f"**{page.entry.minutes} minutes**") not in cell["source"]:
            yield page.finding(cell, f"does not say {minutes}, as the manifest does")
        rest = " ".join(lines[1:]).replace(minutes, "")
        if len(rest.split()) < 5:
            yield page.finding(cell, "has no sentence of what the reader will do")


@_of_each_lesson
def minutes_are_honest(page: Page) -> Iterator[Finding]:
    """The manifest announces the minutes that the words and the visible code take."""
    if page.lesson:
        needed = honest_minutes(page.cells, page.lesson.waiting)
        if abs(page.lesson.minutes - needed) > MINUTES_ASIDE:
            yield page.finding(
                None, f"takes {needed:.0f} minutes, and the manifest says {page.lesson.minutes}"
            )


@_of_each_core_lesson
def asks_three_questions(page: Page) -> Iterator[Finding]:
    """The cell 'questions' holds three numbered questions."""
    cell = page.cell("questions")
    if cell is None:
        yield page.finding(None, "has no cell 'questions'")
        return
    items = [item for numbered in prose(cell["source"]).lists for item in numbered]
    if len(items) != 3:
        yield page.finding(cell, f"holds {len(items)} numbered questions, wanted are 3")
    for item in items:
        if not item.endswith("?"):
            yield page.finding(cell, "a question does not end with a question mark", item)


@_of_each_core_lesson
def recaps_three_answers(page: Page) -> Iterator[Finding]:
    """The last Markdown cell is 'recap' and holds three numbered answers."""
    cell = page.cell("recap")
    if cell is None:
        yield page.finding(None, "has no cell 'recap'")
        return
    if page.of_kind("markdown")[-1:] != [cell]:
        yield page.finding(cell, "is not the last Markdown cell")
    items = [item for numbered in prose(cell["source"]).lists for item in numbered]
    if len(items) != 3:
        yield page.finding(cell, f"holds {len(items)} numbered answers, wanted are 3")
    for item in items:
        if item.endswith("?"):
            yield page.finding(cell, "an answer ends with a question mark", item)


@_of_each_core_lesson
def asks_for_a_prediction(page: Page) -> Iterator[Finding]:
    """Some code cell 'predict-…' stands before the code cell that shows what happens."""
    code = page.of_kind("code")
    if not any(cell.get("id", "").startswith("predict-") for cell in code[:-1]):
        yield page.finding(None, "no code cell 'predict-…' stands before an experiment")


# Figures


@_of_each_core_lesson
def shows_a_figure(page: Page) -> Iterator[Finding]:
    """At least one figure is in the committed outputs."""
    if not any(pictures_in_html(html) for cell in page.cells for html in _html_outputs(cell)):
        yield page.finding(None, "has no figure in its committed outputs")


@_of_each_page
def pictures_have_alternatives(page: Page) -> Iterator[Finding]:
    """Every picture, in Markdown and in outputs, has an alternative text."""
    for cell in page.cells:
        pictures = [picture for html in _html_outputs(cell) for picture in pictures_in_html(html)]
        if cell["cell_type"] == "markdown":
            pictures += prose(cell["source"]).pictures
        for address, alternative in pictures:
            if not alternative.strip():
                yield page.finding(cell, "a picture has no alternative text", address[:60])
        for output in cell.get("outputs", []):
            for mime in output.get("data", {}):
                if mime.startswith("image/"):
                    yield page.finding(
                        cell,
                        f"an output is {mime}, which carries no alternative text; use"
                        " loopbound.figures",
                    )


# Sizes


@_of_each_lesson
def sizes(page: Page) -> Iterator[Finding]:
    """Cells, words and lines of code are within what readers like (the numbers at the top of this
    module). A deeper notebook may be short, and denser.
    """
    deeper = bool(page.lesson and page.lesson.deeper)
    markdown = page.of_kind("markdown")
    if not (0 if deeper else CELLS[0]) <= len(page.cells) <= CELLS[1]:
        yield page.finding(
            None, f"has {len(page.cells)} cells, wanted are {CELLS[0]} to {CELLS[1]}"
        )
    counts = {cell.get("id"): prose(cell["source"]).words for cell in markdown}
    low, high = (0, WORDS_DEEPER) if deeper else WORDS
    if not low <= sum(counts.values()) <= high:
        yield page.finding(None, f"has {sum(counts.values())} words, wanted are {low} to {high}")
    if (
        counts
        and not deeper
        and not WORDS_A_CELL[0] <= (mean := sum(counts.values()) / len(counts)) <= WORDS_A_CELL[1]
    ):
        yield page.finding(
            None,
            f"has {mean:.0f} words a Markdown cell, wanted are {WORDS_A_CELL[0]} to"
            f" {WORDS_A_CELL[1]}",
        )
    for cell in markdown:
        if counts[cell.get("id")] > WORDS_IN_ONE_CELL:
            yield page.finding(
                cell, f"has {counts[cell.get('id')]} words, at most {WORDS_IN_ONE_CELL} are wanted"
            )
    lines = {
        cell.get("id"): len([line for line in cell["source"].splitlines() if line.strip()])
        for cell in _visible_code(page)
    }
    if lines and not deeper and (mean := sum(lines.values()) / len(lines)) > LINES_A_CELL:
        yield page.finding(
            None, f"has {mean:.1f} lines a code cell, at most {LINES_A_CELL} are wanted"
        )
    for identity, count in lines.items():
        if count > LINES_IN_ONE_CELL:
            yield page.finding(
                page.cell(identity), f"has {count} lines, at most {LINES_IN_ONE_CELL} are wanted"
            )


def _visible_code(page: Page) -> list[dict[str, Any]]:
    """The code cells that are not folded, without the questions of predictions."""
    return [
        cell
        for cell in page.of_kind("code")
        if not cell["metadata"].get("jupyter", {}).get("source_hidden")
        and "= predict(" not in cell["source"]
    ]


@_of_each_lesson
def little_plumbing(page: Page) -> Iterator[Finding]:
    """What a reader skips goes into the package, a lesson's helpers, or a folded cell."""
    lines = [
        (number in plumbing(cell["source"]), line)
        for cell in _visible_code(page)
        for number, line in enumerate(cell["source"].splitlines(), 1)
        if line.strip()
    ]
    skipped = [line for is_plumbing, line in lines if is_plumbing]
    if len(skipped) > PLUMBING * len(lines):
        what = f"has {len(skipped)} lines of plumbing among {len(lines)}, at most {PLUMBING:.0%}"
        yield page.finding(None, f"{what} are wanted", "\n".join(skipped))


@_of_each_core_lesson
def first_result_comes_soon(page: Page) -> Iterator[Finding]:
    """At most ten visible lines of code stand in the cells before the first one with an output."""
    before = list(itertools.takewhile(lambda cell: not cell["outputs"], _visible_code(page)))
    lines = sum(bool(line.strip()) for cell in before for line in cell["source"].splitlines())
    if lines > LINES_BEFORE_A_RESULT:
        yield page.finding(
            before[-1],
            f"is the last of {lines} lines without a result, {LINES_BEFORE_A_RESULT} are wanted",
        )


def plumbing(source: str) -> set[int]:
    """The lines of a cell that import, take text apart, pad it, or only rearrange results.

    A print is none: without it there is no result. Held against a judgement by eye, it finds seven
    lines of plumbing of ten, and one of ten that it finds is none. It errs with a comprehension of
    jobs (no plumbing), and with a loop that fills a table (some).
    """
    code = re.sub(r"^%.*", "pass", source, flags=re.MULTILINE)
    flags = ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    found: set[int] = set()
    for node in ast.walk(compile(code, "cell", "exec", flags)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            found.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
        if not isinstance(node, ast.stmt) or hasattr(node, "decorator_list"):
            continue
        # Of a loop or a condition its first line.
        own = [part for part in ast.iter_child_nodes(node) if isinstance(part, _OWN)]
        parts = [inner for part in own for inner in ast.walk(part)]
        calls = [ast.unparse(part.func) for part in parts if isinstance(part, ast.Call)]
        called = {call.rpartition(".")[2] for call in calls}
        kinds = {type(part) for part in parts}
        rearranges = (
            ast.comprehension in kinds
            and ast.Await not in kinds
            and all(re.fullmatch(_REARRANGE, name) for name in called)
        )
        pads = any(isinstance(part, ast.FormattedValue) and part.format_spec for part in parts)
        if rearranges or pads or any(re.fullmatch(_TEXT, name) for name in called):
            last = max(getattr(part, "end_lineno", None) or 0 for part in parts)
            found.update(range(node.lineno, last + 1))
    return found


@_of_each_page
def pages_beside_are_short(page: Page) -> Iterator[Finding]:
    """A page beside the lessons is for a reader in a hurry."""
    if page.entry and not page.lesson:
        words = sum(prose(cell["source"]).words for cell in page.of_kind("markdown"))
        if words > WORDS_BESIDE:
            yield page.finding(None, f"has {words} words, at most {WORDS_BESIDE} are wanted")


@_of_each_page
def few_imports_of_the_package(page: Page) -> Iterator[Finding]:
    """What a lesson teaches stands in the lesson: at most three lines import from the package."""
    lines = [
        line
        for cell in page.of_kind("code")
        for line in cell["source"].splitlines()
        if re.match(r"\s*(from|import)\s+loopbound\b", line)
    ]
    if len(lines) > IMPORT_LINES:
        yield page.finding(
            None,
            f"imports from loopbound on {len(lines)} lines, at most {IMPORT_LINES} are wanted",
            "\n".join(lines),
        )


# Language


@rule
def banned_words(course: Course) -> Iterator[Finding]:
    """No word that makes a reader feel slow, and no names without a meaning."""
    for name, cell_id, text in _prose_of(course):
        for found in BANNED.findall(text):
            yield Finding(name, cell_id, f"says {found!r}", text.strip()[:100])
    for page in course.pages:
        for cell in page.of_kind("code"):
            for found in sorted(
                {word for name in names(cell["source"]) for word in BANNED_NAMES.findall(name)}
            ):
                yield page.finding(cell, f"uses the name {found!r}; take one from the field")


@rule
def british_spelling(course: Course) -> Iterator[Finding]:
    """Prose is spelt the British way; code in it keeps its own spelling."""
    for name, cell, text in _prose_of(course):
        for found in AMERICAN.findall(text):
            yield Finding(name, cell, f"spells {found!r} the American way", text.strip()[:100])


# Links


@rule
def links_resolve(course: Course) -> Iterator[Finding]:
    """Links and pictures that point into the repository point at something there, headings
    included.
    """
    for path, cell, parts in _markdown_of(course):
        for link in (*parts.links, *(address for address, _ in parts.pictures)):
            if wrong := _wrong_link(course.root, path, link):
                yield Finding(path.name, cell, f"the link {link!r} {wrong}")


@rule
def glossary_is_linked(course: Course) -> Iterator[Finding]:
    """A word of the glossary is a link to it where it first stands in a lesson's sentences."""
    glossary = course.root / "notebooks" / GLOSSARY
    words = re.findall(r"^### (.+)$", glossary.read_text(encoding="utf-8"), re.MULTILINE)
    if words != sorted(words):
        yield Finding(GLOSSARY, None, "its words are not in the order of the alphabet")
    # Who stays on the core path has to find the link there.
    pages = sorted(
        (page for page in course.pages if page.lesson),
        key=lambda page: bool(page.lesson and page.lesson.deeper),
    )
    cells = [(page, cell) for page in pages for cell in page.of_kind("markdown")]
    for word in words:
        for page, cell in cells:
            found, linked = first_place(word, cell["source"])
            if found:
                if not linked:
                    yield page.finding(cell, f"{word!r} stands here first; {glossary_link(word)}")
                break
        else:
            yield Finding(GLOSSARY, None, f"no lesson has the word {word!r}")


def glossary_link(word: str) -> str:
    """The Markdown of a link to a word of the glossary."""
    return f"[{word}]({GLOSSARY}#{word.replace(' ', '-')})"


def first_place(word: str, source: str) -> tuple[re.Match[str] | None, bool]:
    """Where a word first stands in a cell's sentences, and whether it is a link to the glossary.

    Headings, tables, code and other links do not count; they are blanked, so that places stay.
    """
    address = re.escape(glossary_link(word).partition("(")[2])
    other = rf"`[^`]*`|^[#|].*|\[[^\]]*\]\((?!{address})[^)]*\)"
    text = re.sub(other, lambda found: " " * len(found[0]), source, flags=re.MULTILINE)
    found = re.search(rf"(?<![\w-]){re.escape(word)}s?(?![\w-])", text, re.IGNORECASE)
    return found, bool(found and re.match(rf"\]\({address}", text[found.end() :]))


def _wrong_link(root: Path, source: Path, link: str) -> str | None:
    parts = urlsplit(link)
    if parts.scheme in ("http", "https", "mailto", "data"):
        return None
    if parts.scheme or parts.netloc or parts.path.startswith("/"):
        return "does not work on another machine"
    target = (source.parent / unquote(parts.path)).resolve() if parts.path else source.resolve()
    if not target.is_relative_to(root.resolve()):
        return "leaves the repository"
    if not target.exists():
        return "points at nothing"
    if (
        parts.fragment
        and target.suffix in (".ipynb", ".md")
        and unquote(parts.fragment) not in _anchors(target)
    ):
        return "names a heading that is not there"
    return None


def _anchors(path: Path) -> set[str]:
    text = path.read_text(encoding="utf-8")
    sources = [text]
    if path.suffix == ".ipynb":
        sources = [
            "".join(cell["source"])
            for cell in json.loads(text)["cells"]
            if cell["cell_type"] == "markdown"
        ]
    headings = [heading for source in sources for heading in prose(source).headings]
    # JupyterLab keeps a heading's letters, GitHub lowers them and drops signs.
    jupyter = {heading.replace(" ", "-") for heading in headings}
    return jupyter | {
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings
    }


# Outputs


@_of_each_page
def outputs_are_committed(page: Page) -> Iterator[Finding]:
    """A cell that shows something when it runs has its output in the file."""
    for cell in page.of_kind("code"):
        if not cell.get("outputs") and _shows(cell["source"]):
            yield page.finding(
                cell, "shows something and has no committed output; run: python3 lab.py run --write"
            )


def _shows(source: str) -> bool:
    try:
        body = ast.parse(source, mode="exec").body
    except SyntaxError:
        try:  # top-level await is a cell's right, and no module's
            body = compile(
                source, "cell", "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
            ).body
        except SyntaxError:
            return False
    if not body:
        return False
    last = body[-1]
    silenced = source.rstrip().endswith(";")
    shown = (
        isinstance(last, ast.Expr)
        and not isinstance(last.value, ast.Call | ast.Await | ast.Yield)
        and not silenced
    )
    # Only what runs for certain: not in functions, nor under a condition.
    direct = (statement.value for statement in body if isinstance(statement, ast.Expr))
    calls = (value.func for value in direct if isinstance(value, ast.Call))
    return shown or any(
        isinstance(call, ast.Name) and call.id in ("print", "display") for call in calls
    )


@_of_each_page
def outputs_name_no_machine(page: Page) -> Iterator[Finding]:
    """Outputs hold no folder of a machine, and no host but the reader's own."""
    for cell in page.of_kind("code"):
        for text in _output_texts(cell):
            for path in sorted({found[0] for found in _MACHINE_PATH.finditer(text)}):
                yield page.finding(cell, f"an output names a folder of one machine: {path}")
            hosts = {*_IP.findall(text), *_DATABASE_HOST.findall(text)}
            if len(own := socket.gethostname()) > 5 and own in text and own != "localhost":
                hosts.add(own)
            for host in sorted(hosts - {"127.0.0.1", "localhost", "0.0.0.0"}):
                yield page.finding(cell, f"an output names a host: {host}")


@_of_each_page
def outputs_are_clean(page: Page) -> Iterator[Finding]:
    """No committed stderr, and an error only where the cell is tagged for it."""
    for cell in page.of_kind("code"):
        wanted = "raises-exception" in cell.get("metadata", {}).get("tags", [])
        kinds = [output["output_type"] for output in cell.get("outputs", [])]
        if any(output.get("name") == "stderr" for output in cell.get("outputs", [])):
            yield page.finding(cell, "has stderr in its committed output")
        if "error" in kinds and not wanted:
            yield page.finding(
                cell, "has an error in its committed output and no tag raises-exception"
            )
        if wanted and "error" not in kinds:
            yield page.finding(
                cell, "is tagged raises-exception and has no error in its committed output"
            )


# Claims


@rule
def claims_are_settled(course: Course) -> Iterator[Finding]:
    """Claims in cells exist, and each lesson carries those that the manifest gives it."""
    for page in course.pages:
        carried: set[str] = set()
        for cell in page.cells:
            for claim in claims_of(cell):
                carried.add(claim)
                if not claim_exists(claim):
                    yield page.finding(
                        cell,
                        f"carries the claim {claim!r}, which the incident documents do not make",
                    )
        for claim in page.lesson.claims if page.lesson else ():
            if claim not in carried:
                yield page.finding(
                    None,
                    f"has no cell for the claim {claim}, which the manifest gives to this lesson",
                )


# Reading


def _texts(value: Any) -> str:
    return "".join(value) if isinstance(value, list) else str(value)


def _html_outputs(cell: dict[str, Any]) -> list[str]:
    return [
        _texts(output["data"]["text/html"])
        for output in cell.get("outputs", [])
        if "text/html" in output.get("data", {})
    ]


def _output_texts(cell: dict[str, Any]) -> Iterator[str]:
    for output in cell.get("outputs", []):
        yield from (_texts(output[key]) for key in ("text", "evalue", "traceback") if key in output)
        for mime, value in output.get("data", {}).items():
            if mime.startswith("text/"):
                yield re.sub(r"data:[^\"'\s]+", "", _texts(value))


def _markdown_of(course: Course) -> Iterator[tuple[Path, str | None, Any]]:
    for page in course.pages:
        for cell in page.of_kind("markdown"):
            yield page.path, cell.get("id"), prose(cell["source"])
    for path in (course.root / "README.md", course.root / "notebooks" / GLOSSARY):
        if path.is_file():
            yield path, None, prose(path.read_text(encoding="utf-8"))


def _prose_of(course: Course) -> Iterator[tuple[str, str | None, str]]:
    for path, cell_id, parts in _markdown_of(course):
        for text in parts.text:
            yield path.name, cell_id, text
    for page in course.pages:
        for cell in page.of_kind("code"):
            for comment in comments(cell["source"]):
                yield page.file, cell.get("id"), re.sub(r"`[^`]*`", "", comment)
