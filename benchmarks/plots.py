"""Tables as SVG plots: one file a part, one panel a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_WIDTH = 9.0
_ROW = 0.26
_PANEL = 0.85
_MET, _MISSED, _PLAIN = "#3b7d4f", "#b5482f", "#5b7fa6"
_COMPARED = ("x", "x faster")
# Text stays text, and the same figures give the same file.
_STYLE = {"svg.fonttype": "none", "svg.hashsalt": "benchmarks", "font.size": 9}


def is_main(table: Mapping[str, Any]) -> bool:
    """Whether a table has ratios with a target."""
    return any(row["target"] and row["relation"] in _COMPARED for row in table["rows"])


def draw(path: Path, tables: Sequence[Mapping[str, Any]]) -> None:
    """Draw the ratios of tables; a mark in a row is its target, the line is its peer.

    :param tables: as :meth:`benchmarks.table.Table.data` gives them.
    :raises ModuleNotFoundError: if Matplotlib is not installed.
    """
    import matplotlib
    from matplotlib.figure import Figure

    heights = [_PANEL + _ROW * len(_compared(table)) for table in tables]
    with matplotlib.rc_context(_STYLE):
        figure: Any = Figure(figsize=(_WIDTH, sum(heights)), layout="constrained")
        panels = figure.subplots(len(tables), 1, squeeze=False, height_ratios=heights)
        for (axes,), table in zip(panels, tables, strict=True):
            _panel(axes, table["title"], _compared(table))
        path.parent.mkdir(exist_ok=True)
        figure.savefig(path, format="svg", metadata={"Date": None})
    # It ends lines with spaces.
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("".join(f"{line.rstrip()}\n" for line in lines), encoding="utf-8")


def _compared(table: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [row for row in table["rows"] if row["relation"] in _COMPARED]


def _panel(axes: Any, title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    places = range(len(rows))
    results = [row["result"] for row in rows]
    axes.barh(places, results, height=0.7, color=[_color(row["met"]) for row in rows])
    beside = axes.get_yaxis_transform()
    for place, row in zip(places, rows, strict=True):
        axes.text(1.02, place, _label(row), va="center", transform=beside)
        if row["target"]:
            bound = float(row["target"].split()[-1])
            axes.plot([bound, bound], [place - 0.45, place + 0.45], color="black", linewidth=1.5)
    axes.axvline(1, color="#999999", linewidth=0.8, zorder=0)
    if max(results) > 5:
        axes.set_xscale("log")
    axes.set_yticks(places, [_name(row) for row in rows])
    axes.invert_yaxis()
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    # To the left there is room above the names.
    axes.set_title(title, loc="right", fontweight="bold")


def _name(row: Mapping[str, Any]) -> str:
    return f"{row['what']} against {row['against']}"


def _label(row: Mapping[str, Any]) -> str:
    result = row["result"]
    number = f"{result:,.0f}" if result >= 100 else f"{result:.3g}"
    return f"{number} {row['relation']}"


def _color(met: bool | None) -> str:
    return _PLAIN if met is None else _MET if met else _MISSED
