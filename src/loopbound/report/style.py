"""The pages' style sheet: light and dark, wide and narrow, on screen and on paper.

Colours are those of the course's figures.
"""

from __future__ import annotations

from loopbound.figures.style import ALARM, HAIRLINE, INK, LOOP_COLOURS, MUTED, PAPER
from loopbound.outcomes import NOT_ATTEMPTED, PASSED, RAISED, WRONG

__all__ = ["CLASSES", "COLOURS", "SHEET", "mixed"]

COLOURS = {PASSED: LOOP_COLOURS[2], WRONG: ALARM, RAISED: LOOP_COLOURS[3], NOT_ATTEMPTED: MUTED}
CLASSES = {PASSED: "passed", WRONG: "wrong", RAISED: "raised", NOT_ATTEMPTED: "untouched"}

_NIGHT = {
    "paper": "#14191F",
    "ink": "#E4E9EE",
    "muted": "#A3AFBB",
    "hairline": "#37434F",
    "soft": "#1C232B",
    "link": "#7CC4EE",
}
_DAY = {
    "paper": PAPER,
    "ink": INK,
    "muted": "#5A6672",
    "hairline": HAIRLINE,
    "soft": "#F4F6F8",
    "link": "#005A8F",
}


def mixed(colour: str, ground: str, share: float) -> str:
    """A colour laid over a ground: 1.0 is the colour itself, 0.0 the ground."""
    pairs = ((int(colour[i : i + 2], 16), int(ground[i : i + 2], 16)) for i in (1, 3, 5))
    return "#" + "".join(
        f"{round(over * share + under * (1 - share)):02X}" for over, under in pairs
    )


def _theme(tones: dict[str, str], share: float) -> str:
    tones = tones | {
        CLASSES[outcome]: mixed(
            colour, tones["paper"], share if outcome != NOT_ATTEMPTED else share / 2
        )
        for outcome, colour in COLOURS.items()
    }
    return " ".join(f"--{name}: {tone};" for name, tone in tones.items())


SHEET = (
    f"""
:root {{ {_theme(_DAY, 0.42)} color-scheme: light; }}
@media screen and (prefers-color-scheme: dark) {{ :root {{ {_theme(_NIGHT, 0.5)} color-scheme: dark; }} }}
"""
    + """
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", "DejaVu Sans", Verdana, sans-serif;
  overflow-wrap: anywhere; -webkit-text-size-adjust: 100%; }
main { max-width: 72rem; margin: 0 auto; padding: 1.5rem 1rem 4rem; }
main.narrow { max-width: 48rem; }
h1 { font-size: 1.8rem; line-height: 1.2; margin: 0 0 .25rem; }
h2 { font-size: 1.3rem; line-height: 1.3; margin: 2.5rem 0 .5rem; padding-top: .75rem; border-top: 1px solid var(--hairline); }
h3 { font-size: 1.05rem; line-height: 1.35; margin: 1.5rem 0 .25rem; }
p { margin: .5rem 0; max-width: 46rem; }
a { color: var(--link); }
a:focus-visible, [tabindex]:focus-visible { outline: 3px solid var(--link); outline-offset: 2px; }
nav ul { list-style: none; padding: 0; margin: .75rem 0; display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; }
.quiet { color: var(--muted); font-size: .9rem; }
.points { font-variant-numeric: tabular-nums; white-space: nowrap; }
.hidden { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
code, pre { font-family: ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; font-size: .875em; }
p code, td code, li code { background: var(--soft); border-radius: 3px; padding: .05em .25em; }
pre { background: var(--soft); border: 1px solid var(--hairline); border-radius: 6px; padding: .75rem; margin: .75rem 0 0; max-height: 32rem; overflow: auto;
  overflow-wrap: normal; line-height: 1.45; tab-size: 4; unicode-bidi: isolate; direction: ltr; }
pre code { font-size: 1em; }
.badge { display: inline-block; border-radius: 4px; padding: 0 .5em; font-size: .875rem; font-weight: 600; white-space: nowrap; color: var(--ink); }
.passed { background: var(--passed); } .wrong { background: var(--wrong); } .raised { background: var(--raised); } .untouched { background: var(--untouched); }
.legend { list-style: none; padding: 0; margin: .75rem 0; display: flex; flex-wrap: wrap; gap: .25rem .75rem; }
.scroll { overflow-x: auto; margin: .75rem 0; position: relative; }
table { border-collapse: separate; border-spacing: 0; font-size: .9375rem; overflow-wrap: normal; }
th, td { text-align: left; vertical-align: top; padding: .4rem .6rem; border-bottom: 1px solid var(--hairline); }
thead th { vertical-align: bottom; font-size: .8125rem; line-height: 1.25; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
td p { margin: 0 0 .25rem; }
.file { min-width: 8rem; max-width: 16rem; overflow-wrap: anywhere; }
.name { min-width: 8rem; max-width: 16rem; overflow-wrap: anywhere; font-weight: 600; }
.heat th, .heat td { padding: 0; height: 2rem; vertical-align: middle; border: 0; }
.heat td { text-align: center; min-width: 2.5rem; border-right: 2px solid var(--paper); border-bottom: 2px solid var(--paper); font-weight: 700; }
.heat td a { display: block; color: var(--ink); text-decoration: none; line-height: 2rem; }
.heat .first { border-left: .5rem solid var(--paper); }
.heat td.absent { color: var(--muted); font-weight: 400; }
.heat .name { position: sticky; left: 0; z-index: 1; background: var(--paper); padding-right: .75rem; font-weight: 600; }
.heat td.points, .heat thead .points { padding-right: .5rem; text-align: right; font-size: .875rem; font-weight: 400; }
.heat thead th { padding: 0 .25rem .3rem 0; vertical-align: bottom; }
.heat thead .task { text-align: center; padding: 0 0 .3rem; font-weight: 400; font-variant-numeric: tabular-nums; }
.heat abbr { text-decoration: none; }
.heat tfoot .name { font-weight: 400; }
.heat tfoot th, .heat tfoot td { border-top: 1px solid var(--hairline); font-size: .8125rem; font-weight: 400; font-variant-numeric: tabular-nums; }
.bar { display: inline-block; width: 6rem; height: .7rem; border: 1px solid var(--muted); border-radius: 2px; overflow: hidden; vertical-align: baseline; }
.bar span { display: block; height: 100%; background: var(--wrong); }
.mistakes { list-style: none; padding: 0; margin: .5rem 0 0; }
.mistakes li { display: grid; grid-template-columns: minmax(0, 2fr) minmax(0, 3fr); gap: 0 1.5rem; padding: .4rem 0; border-top: 1px solid var(--hairline); }
.mistakes p { margin: .1rem 0; } .times { display: inline-block; min-width: 2.25rem; font-variant-numeric: tabular-nums; }
article { margin: 1.25rem 0 2rem; }
article h3 { display: flex; flex-wrap: wrap; align-items: baseline; gap: .25rem .6rem; margin: 0 0 .25rem; }
article h3 .quiet { font-weight: 400; }
@media (max-width: 32rem) {
  main { padding: 1rem .75rem 3rem; } h1 { font-size: 1.5rem; }
  pre { white-space: pre-wrap; overflow-wrap: anywhere; }
  .mistakes li { grid-template-columns: minmax(0, 1fr); } .bar { width: 3rem; }
  .heat .name { min-width: 6rem; max-width: 7.5rem; font-size: .875rem; line-height: 1.2; }
}
@page { margin: 14mm; }
@media print {
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  html { font-size: 9pt; } main, main.narrow { max-width: none; padding: 0; } nav { display: none; } a { color: inherit; text-decoration: none; }
  .scroll { overflow: visible; } pre { max-height: none; overflow: visible; white-space: pre-wrap; overflow-wrap: anywhere; }
  tfoot { display: table-row-group; } h2, h3 { break-after: avoid; } tr, .keep { break-inside: avoid; }
  .heat .name { position: static; min-width: 6rem; max-width: 9rem; } .heat .first { border-left-width: .25rem; }
  .heat td { min-width: 1.4rem; } .heat th, .heat td, .heat td a { height: 1.4rem; line-height: 1.4rem; }
  .heat thead th { line-height: 1.2; font-size: .65rem; } .heat thead span { width: auto !important; }
  .heat thead .task, .heat tfoot td { font-size: .5rem; white-space: nowrap; }
}
"""
)
