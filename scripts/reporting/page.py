"""The report as one HTML page: no file and no address outside it, so that it opens anywhere.

The prose is page.html, the look style.css; here are the numbers and the tables.
"""

import base64
import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from reporting.claims import LIMITS, wilson
from reporting.equations import BACKWARD, DEEPER, ERRATA, FORWARD, equations, symbol
from reporting.formulas import inline
from reporting.runs import START_LABELS, layers

HERE = Path(__file__).parent
Results = Mapping[str, Any]  # what metrics.json holds


def page(results: Results, images: Mapping[str, bytes]) -> str:
    """images: PNG files by name."""
    text = (HERE / "page.html").read_text(encoding="utf-8")
    facts = {
        "pytorch": results["pytorch_side"]["itself"],
        "own": results["data"]["reports_own"],
    }
    return Template(choose(text, facts)).substitute(
        style=(HERE / "style.css").read_text(encoding="utf-8"),
        **{name: as_address(content) for name, content in images.items()},
        **numbers(results),
        **tables(results),
    )


def choose(text: str, facts: Mapping[str, bool]) -> str:
    """Keep what is between <!-- if NAME -->, or <!-- if not NAME -->, and <!-- end --> if so."""

    def choice(block: re.Match[str]) -> str:
        negated, name, lines = block.groups()
        return lines if facts[name] != bool(negated) else ""

    return re.sub(r"<!-- if (not )?(\w+) -->\n(.*?)<!-- end -->\n", choice, text, flags=re.DOTALL)


def as_address(image: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(image).decode()}"


def numbers(r: Results) -> dict[str, Any]:
    """What the prose says in numbers and names."""
    data, side, faults = r["data"], r["pytorch_side"], r["faults"][1:]
    rows = data["rows"]["test"]
    lows, highs = zip(*(wilson(round(a * rows), rows) for a in final_accuracies(r)), strict=True)
    return {
        "finding": escape(r["finding"]),
        "data": escape(data["name"]),
        "train_rows": data["rows"]["train"],
        "test_rows": rows,
        "features": data["features"],
        "classes": len(data["classes"]),
        **r["settings"],
        "last_seed": r["settings"]["seeds"] - 1,
        "side": escape(side["label"]),
        "side_seeds": side["seeds"],
        "versions": ", ".join(f"{escape(name)} {escape(v)}" for name, v in r["versions"].items()),
        "command": escape(r["command"]),
        "seconds": f"{r['seconds']:.0f}",
        "points_per_row": f"{100 / rows:.2g}",
        "lowest": f"{100 * min(lows):.1f}",
        "highest": f"{100 * max(highs):.1f}",
        "effect": " ".join(map(effect_in_words, r["effect_of_initialisation"].items())),
        "mistakes": len(faults),
        "alike": sum(fault["looks_right"] for fault in faults),
        "smallest_error": percent(min(fault["error"] for fault in faults)),
    }


def final_accuracies(r: Results) -> list[float]:
    """Of the test set: scratch and the other side, with one hidden layer and with two."""
    theirs = "pytorch" if r["pytorch_side"]["itself"] else "hand"
    found = []
    for by_gradient in r["medians"].values():
        for summary in (by_gradient["hand"]["course"], by_gradient[theirs]["PyTorch"]):
            found.append(summary["final_test_accuracy"])
    return found


def effect_in_words(item: tuple[int, Mapping[str, float]]) -> str:
    hidden, effect = item
    return (
        f"{layers(hidden).capitalize()}: up to {effect['largest']:.3f} (in epoch "
        f"{effect['in_epoch']}), and {effect['final']:.3f} after the last epoch."
    )


# ---- the tables


def tables(r: Results) -> dict[str, str]:
    digests = (f"<code>{d}</code> {escape(name)}" for name, d in r["data"]["sha256"].items())
    return {
        "sha256": "<br>".join(digests),
        "forward": equations(FORWARD),
        "backward": equations(BACKWARD),
        "deeper": equations(DEEPER),
        "errata": errata(),
        "gradient_errors": gradient_errors(r),
        "hand_against_auto": hand_against_auto(r),
        "medians": medians(r),
        "initialisation_table": initialisations(r),
        "mistake_table": mistakes(r),
        "claims": "\n".join(map(claim, r["claims"])),
    }


def table(
    head: Sequence[str], rows: Iterable[Iterable[Any]], numbers: int = 0, first_apart: bool = False
) -> str:
    """The last `numbers` columns are set to the right; first_apart sets the first row off."""
    body = [list(row) for row in rows]
    kinds = [""] * (len(body[0]) - numbers) + [' class="n"'] * numbers

    def line(tag: str, cells: Iterable[Any], kind: str = "") -> str:
        inner = "".join(f"<{tag}{k}>{cell}</{tag}>" for k, cell in zip(kinds, cells, strict=True))
        return f"<tr{kind}>{inner}</tr>"

    top = f"<thead>{line('th', head)}</thead>" if head else ""
    first, *others = body
    lines = [line("td", first, ' class="first"' if first_apart else "")]
    lines += [line("td", row) for row in others]
    return f'<div class="scroll"><table>{top}<tbody>{"".join(lines)}</tbody></table></div>'


def errata() -> str:
    rows = ((inline(e.printed), inline(e.corrected), f"<code>{e.code}</code>") for e in ERRATA)
    return table(("report", "corrected", "in jaxnet/"), rows)


def gradient_errors(r: Results) -> str:
    rows, columns = [], []
    for hidden, by_start in r["gradient_errors_in_eps"].items():
        columns = [(start, when) for start, by_when in by_start.items() for when in by_when]
        for name in by_start["course"]["start"]:
            errors = (by_start[start][when][name] for start, when in columns)
            cells = [f"{error[by]:.1f}" for error in errors for by in ("hand", "auto")]
            rows.append((f"{unbroken(hidden)}, {symbol(name)}", *cells))
    head = [f"{start}, {when}<br>{by}" for start, when in columns for by in ("hand", "auto")]
    return table(("parameter", *head), rows, numbers=len(head))


def hand_against_auto(r: Results) -> str:
    rows = []
    for hidden, by_start in r["hand_against_auto"].items():
        for start, c in by_start.items():
            apart = c["largest_loss_difference"]
            loss = f"{apart:.1e}" if apart else "none: bitwise equal"
            equal = c["accuracies"] - c["accuracies_different"]
            rows.append((unbroken(hidden), start, loss, f"{equal} of {c['accuracies']}"))
    head = (
        "network",
        "initialisation",
        "largest difference of any loss, training or test, any epoch and seed",
        "accuracies equal",
    )
    return table(head, rows, numbers=2)


def medians(r: Results) -> str:
    rows = []
    for hidden, by_gradient in r["medians"].items():
        for start in ("course", "PyTorch"):
            for gradient, by_start in by_gradient.items():
                who = "PyTorch itself" if gradient == "pytorch" else gradient
                rows.append((unbroken(hidden), start, who, *summary_cells(by_start[start])))
    head = (
        "network",
        "initialisation",
        "gradient",
        f"training loss, mean of epochs 1–{LIMITS.slow_epochs}",
        "final training loss",
        "final test loss",
        "final test accuracy",
    )
    return table(head, rows, numbers=4)


def summary_cells(summary: Mapping[str, float]) -> list[str]:
    early = f"train_loss_mean_1_to_{LIMITS.slow_epochs}"
    losses = [f"{summary[name]:.4f}" for name in (early, "final_train_loss", "final_test_loss")]
    return [*losses, f"{100 * summary['final_test_accuracy']:.2f} %"]


def initialisations(r: Results) -> str:
    rows, seeds = [], r["settings"]["seeds"]
    for hidden, by_start in r["initialisations"].items():
        reference = by_start["PyTorch"]["gradient_norms_at_start"][0]
        for start, label in START_LABELS.items():
            about = by_start[start]
            norms, above = about["gradient_norms_at_start"], about["above"]
            epoch = above if above == "never" else f"{above:g}"
            rows.append(
                (
                    unbroken(hidden),
                    label,
                    ", ".join(f"{norm:.2g}" for norm in norms),
                    f"{reference / norms[0]:.3g}",
                    f"{epoch} ({about['seeds_above']} of {seeds})",
                    f"{about['final_train_loss']:.3f}",
                    f"{100 * about['final_test_accuracy']:.2f} %",
                )
            )
    head = (
        "network",
        "initialisation",
        "|∂L/∂W| at the start, first to last",
        "PyTorch’s first / this first",
        f"above {LIMITS.high} % for good from (seeds)",
        "final training loss",
        "final test accuracy",
    )
    return table(head, rows, numbers=4)


def mistakes(r: Results) -> str:
    right, *wrong = r["faults"]
    rows = [mistake(right, ""), *(mistake(f, looks_of(f)) for f in wrong)]
    head = (
        "mistake",
        "should be",
        "is",
        "final test accuracy",
        "looks",
        "gradient error (parameter)",
    )
    return table(head, rows, numbers=3, first_apart=True)


def mistake(fault: Mapping[str, Any], looks: str) -> tuple[str, ...]:
    return (
        escape(fault["words"]),
        f'<span class="eq">{escape(fault["right"])}</span>',
        f'<span class="eq">{escape(fault["wrong"])}</span>',
        f"{fault['accuracy']:.2f} %",
        looks,
        f"{percent(fault['error'])} ({symbol(fault['worst'])})",
    )


def looks_of(fault: Mapping[str, Any]) -> str:
    if fault["diverged"]:
        return "diverged"
    return "right" if fault["looks_right"] else "wrong"


def claim(c: Mapping[str, Any]) -> str:
    rows = [(m["what"], escape(m["source"]), spread(m)) for m in c["measures"]]
    return (
        f'<div class="claim" id="{c["id"]}"><header>'
        f"<span>{c['section']}: <q>{escape(c['quote'])}</q></span>"
        f'<span class="verdict">{c["verdict"]}</span></header>'
        f'<p class="note">{escape(c["definition"])}.</p>{table((), rows, numbers=1)}</div>'
    )


def unbroken(hidden: int) -> str:
    return layers(hidden).replace(" ", "&nbsp;")


def percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.01 else f"{100 * share:.5f} %"


def spread(measure: Mapping[str, Any]) -> str:
    """The median, and the range where there is one."""
    found = (measure[key] for key in ("median", "min", "max"))
    median, low, high = (v if isinstance(v, str) else f"{v:.4g}" for v in found)
    unit = f" {escape(measure['unit'])}" if measure["unit"] else ""
    return f"{median}{unit}" if low == high else f"{median} [{low} – {high}]{unit}"
