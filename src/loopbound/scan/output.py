"""The forms in which a report is printed: text, JSON, SARIF, and GitHub's annotations."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from urllib.parse import quote

from loopbound.scan.findings import CODES, SEVERITIES, Finding
from loopbound.scan.scan import Report

_SARIF_LEVELS = {"error": "error", "warning": "warning", "info": "note"}
_GITHUB = {"error": "error", "warning": "warning", "info": "notice"}
_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def formatted(report: Report, form: str, columns: int = 96) -> str:
    """A report as ``"text"``, ``"json"``, ``"sarif"`` or ``"github"``."""
    return {
        "text": lambda: _text(report, columns),
        "json": lambda: _json(report),
        "sarif": lambda: _sarif(report),
        "github": lambda: _github(report),
    }[form]()


def _text(report: Report, columns: int) -> str:
    lines: list[str] = []
    for each in report.findings:
        lines.append(f"{each.file}:{each.line}: {each.code} {each.severity}")
        for text in (each.why, f"cure: {each.cure}"):
            lines += textwrap.wrap(
                text,
                columns,
                initial_indent="  ",
                subsequent_indent="  ",
                break_long_words=False,
                break_on_hyphens=False,
            )
        places = [f"{file}:{line} ({what})" for file, line, what in each.also]
        if places:
            lines.append(f"  see:  {', '.join(places)}")
        lines.append(f"  lesson {each.lesson}" + (f", kind {each.kind}" if each.kind else ""))
        lines.append("")
    lines.append(summary(report))
    return "\n".join(lines)


def summary(report: Report) -> str:
    """The last line: how much of what."""
    counts = [
        f"{number} {name if name == 'info' else name + ('s' if number != 1 else '')}"
        for name in reversed(SEVERITIES)
        if (number := sum(each.severity == name for each in report.findings))
    ]
    found = ", ".join(counts) if counts else "Nothing found"
    return f"{found} in {report.files} files, {report.lines:,} lines."


def _json(report: Report) -> str:
    return json.dumps(
        [
            {
                "code": each.code,
                "severity": each.severity,
                "file": each.file,
                "line": each.line,
                "why": each.why,
                "cure": each.cure,
                "kind": each.kind or None,
                "lesson": each.lesson,
                "also": [{"file": f, "line": n, "what": what} for f, n, what in each.also],
            }
            for each in report.findings
        ],
        indent=2,
        ensure_ascii=False,
    )


def _place(file: str, line: int) -> dict[str, object]:
    return {
        "physicalLocation": {
            "artifactLocation": {"uri": quote(file), "uriBaseId": "ROOT"},
            "region": {"startLine": max(1, line)},
        }
    }


def _sarif(report: Report) -> str:
    names = list(CODES)
    root = report.root.resolve().as_uri()
    return json.dumps(
        {
            "$schema": _SCHEMA,
            "version": "2.1.0",
            "runs": [
                {
                    "tool": {
                        "driver": {
                            "name": "loopbound",
                            "rules": [
                                {
                                    "id": name,
                                    "shortDescription": {
                                        "text": f"{code.says[0].upper()}{code.says[1:]}."
                                    },
                                    "properties": {"kind": code.kind} if code.kind else {},
                                }
                                for name, code in CODES.items()
                            ],
                        }
                    },
                    "originalUriBaseIds": {"ROOT": {"uri": root.rstrip("/") + "/"}},
                    "columnKind": "unicodeCodePoints",
                    "results": [_result(each, names) for each in report.findings],
                }
            ],
        },
        indent=2,
        ensure_ascii=False,
    )


def _result(finding: Finding, names: list[str]) -> dict[str, object]:
    found: dict[str, object] = {
        "ruleId": finding.code,
        "ruleIndex": names.index(finding.code),
        "level": _SARIF_LEVELS[finding.severity],
        "message": {"text": f"{finding.why} Cure: {finding.cure} (Lesson {finding.lesson}.)"},
        "locations": [_place(finding.file, finding.line)],
    }
    if finding.also:
        found["relatedLocations"] = [
            {"id": number, **_place(file, line), "message": {"text": what}}
            for number, (file, line, what) in enumerate(finding.also)
        ]
    return found


def _github(report: Report) -> str:
    """Workflow commands; names are those that a workflow's checkout has."""
    lines = []
    here = Path.cwd().resolve()
    for each in report.findings:
        file = (report.root / each.file).as_posix()
        whole = (report.root / each.file).resolve()
        if whole.is_relative_to(here):
            file = whole.relative_to(here).as_posix()
        lines.append(
            f"::{_GITHUB[each.severity]} file={_property(file)},line={each.line},"
            f"title={_property('loopbound ' + each.code)}::"
            + _data(f"{each.why}\nCure: {each.cure}")
        )
    return "\n".join([*lines, summary(report)])


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
