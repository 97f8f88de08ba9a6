"""The report as one HTML page: no file and no address outside it, so that it opens anywhere, now and later."""

import base64
import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from report_claims import LIMITS, wilson
from report_figures import PAIRS, layers

# Equations are written as text: _ij or _(k) sets an index low, ^(1) or ^T sets it high.
FORWARD = (
    ("l = W^(1) x + b^(1)", "linear map"),
    ("h = ReLU(l) = max(0, l)", "hidden units"),
    ("x̃ = W^(2) h + b^(2)", "logits"),
    ("p_i = exp(x̃_i) / Σ_k exp(x̃_k)", "softmax"),
    (
        "L = −Σ_i y_i log p_i",
        "cross-entropy of one row; the loss of a batch of n rows is the mean, (1/n) Σ L",
    ),
)
BACKWARD = (
    ("∂p_i/∂x̃_j = p_i (δ_ij − p_j)", "softmax"),
    ("∂L/∂x̃_j = p_j Σ_k y_k − y_j = p_j − y_j", "where Σ_k y_k = 1"),
    ("∂L/∂W^(2)_ij = (p_i − y_i) h_j", "sum over k: only k = i is left"),
    ("∂L/∂b^(2)_i = p_i − y_i", ""),
    ("∂L/∂h_j = Σ_i (p_i − y_i) W^(2)_ij", ""),
    (
        "∂L/∂l_j = a_j Σ_i (p_i − y_i) W^(2)_ij",
        "a_j = 1 where l_j > 0, 0 where l_j < 0, by convention 0 at l_j = 0",
    ),
    ("∂L/∂W^(1)_jk = (∂L/∂l_j) x_k", "not in the report"),
    ("∂L/∂b^(1)_j = ∂L/∂l_j", "not in the report"),
    (
        "θ ← θ − η · (1/n) Σ ∂L/∂θ",
        "update of every parameter θ with learning rate η; not in the report",
    ),
)
DEEPER = (
    ("l^(1) = W^(1) x + b^(1),   h^(1) = ReLU(l^(1))", ""),
    ("l^(2) = W^(2) h^(1) + b^(2),   h^(2) = ReLU(l^(2)),   x̃ = W^(3) h^(2) + b^(3)", ""),
    ("∂L/∂l^(2)_j = a^(2)_j Σ_i (p_i − y_i) W^(3)_ij", "as above"),
    (
        "∂L/∂l^(1)_k = a^(1)_k Σ_j (∂L/∂l^(2)_j) W^(2)_jk",
        "the same step once more; not in the report",
    ),
    (
        "∂L/∂W^(2)_jk = (∂L/∂l^(2)_j) h^(1)_k,   ∂L/∂W^(1)_ki = (∂L/∂l^(1)_k) x_i",
        "not in the report",
    ),
)
ERRATA = (  # report, corrected, where in the code: file of jaxnet and name
    ("“single layer”, “two-layers”", "one and two hidden layers: two and three linear maps", "models.py: mlp"),
    ("h = ReLU(x)", "h = ReLU(l)", "rules/_activations.py: relu"),
    ("p = exp(max_i x̃_i) / Σ_i exp(x̃_i), which makes all p_i equal",
     "p_i = exp(x̃_i) / Σ_k exp(x̃_k), or exp(x̃_i − max x̃) in both places", "rules/_softmax.py: softmax"),
    ("the same numerator inside ∂p_i/∂x̃_j", "p_i (δ_ij − p_j) is right for the corrected p",
     "rules/_softmax.py: softmax_backward"),
    ("∂L/∂x̃_j uses the index i twice", "−Σ_k y_k (δ_kj − p_j), one index for each sum",
     "rules/_cross_entropy.py: softmax_cross_entropy"),
    ("∂L/∂x̃_j = p_j − y_j", "p_j Σ_k y_k − y_j; equal where Σ_k y_k = 1, which is not said",
     "rules/_cross_entropy.py: softmax_cross_entropy_forward"),
    ("b_i in ∂x̃/∂h and ∂x̃/∂W", "b^(2)_i", "rules/_linear.py: linear"),
    ("∂L/∂h_j with x̃_j in the summand", "x̃_i in the summand; the result is right", "rules/_linear.py: linear_backward"),
    ("∂x̃_k/∂W_ij of Σ_k W_ik h_k + b_i", "of Σ_n W_kn h_n + b_k; the result is right",
     "rules/_linear.py: linear_backward"),
    ("∂L/∂W_ij sums over i", "sums over k; the result is right", "rules/_linear.py: linear_backward"),
    ("a = 1 where l ≥ 0", "frameworks take 0 at l = 0, and so does relu; the report's 1 is an option",
     "rules/_activations.py: relu_backward"),
    ("∂L/∂l_i sums over i, its own index", "∂L/∂l_j = a_j Σ_i (p_i − y_i) W^(2)_ij",
     "rules/_activations.py: relu_backward"),
    ("∂L/∂W^(1), ∂L/∂b^(1): promised “for i = 1, 2”, absent", "given above", "rules/_linear.py: linear_backward"),
    ("the mean over the batch and the update rule: absent", "given above", "training.py: update_step"),
    ("two hidden layers: no derivation", "given above; in code it is the same rules, composed", "models.py: mlp"),
    ("Figures E to H are all captioned as losses", "read here as E, G losses and F, H accuracies of the two-layer "
     "network: an inference", "plotting.py: draw_metric"),
)  # fmt: skip

STYLE = """
:root { --ink: #1b1f24; --soft: #57606a; --line: #d8dee4; --pale: #f6f8fa; --blue: #0072B2; }
* { box-sizing: border-box; }
body { font: 16px/1.55 system-ui, -apple-system, "Segoe UI", "Liberation Sans", Arial, sans-serif; color: var(--ink);
  max-width: 60rem; margin: 2.5rem auto; padding: 0 1.25rem; }
h1 { font-size: 2rem; line-height: 1.2; margin: 0 0 .3rem; }
h2 { font-size: 1.35rem; margin: 2.8rem 0 .6rem; padding-top: .6rem; border-top: 2px solid var(--ink); }
h3 { font-size: 1.05rem; margin: 1.6rem 0 .4rem; }
p, li { max-width: 46rem; }
.finding { font-size: 1.15rem; border-left: 4px solid var(--blue); padding: .3rem 0 .3rem 1rem; margin: 1.2rem 0; }
.soft, figcaption, .note { color: var(--soft); font-size: .9rem; }
figure { margin: 1.2rem 0; break-inside: avoid; }
figure img { width: 100%; height: auto; display: block; }
figcaption { margin-top: .3rem; max-width: 46rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .88rem; width: 100%; margin: .8rem 0; }
th, td { text-align: left; vertical-align: top; padding: .35rem .6rem; border-bottom: 1px solid var(--line); }
thead th { border-bottom: 1.5px solid var(--ink); }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
td.n { white-space: nowrap; }
tr.first td { border-bottom: 1.5px solid var(--ink); font-weight: 600; }
.eq { font-family: "STIX Two Text", Cambria, "Liberation Serif", "Times New Roman", serif; white-space: nowrap; }
.eqs { display: grid; grid-template-columns: max-content 1fr; gap: .25rem 1.6rem; align-items: baseline; }
.eqs .eq { font-size: 1.08rem; }
.eqs .why { color: var(--soft); font-size: .9rem; }
sub, sup { font-size: .72em; line-height: 0; }
code { font-family: ui-monospace, "Liberation Mono", Menlo, monospace; font-size: .88em; overflow-wrap: anywhere; }
dl { display: grid; grid-template-columns: 9rem 1fr; gap: .2rem 1rem; font-size: .92rem; }
dt { color: var(--soft); } dd { margin: 0; }
.verdict { font-weight: 700; white-space: nowrap; }
.claim { break-inside: avoid; border: 1px solid var(--line); border-radius: 6px; padding: .7rem 1rem; margin: .8rem 0; }
.claim header { display: flex; justify-content: space-between; gap: 1.5rem; align-items: baseline; }
.claim q { font-style: italic; } .claim p, .claim table { margin: .25rem 0; } .claim tr:last-child td { border: 0; }
@media print {
  @page { size: A4; margin: 16mm 14mm; }
  html { font-size: 9.5pt; }
  body { font-size: 1rem; margin: 0; padding: 0; max-width: none; }
  h2 { break-after: avoid; } h3 { break-after: avoid; } tr { break-inside: avoid; }
  p, li, figcaption { max-width: none; } .scroll { overflow: visible; } th, td { padding: .15rem .4rem; }
}
"""


def page(
    results: Mapping[str, Any], content: Mapping[str, bytes], starts: Mapping[str, str]
) -> str:
    """results: what metrics.json holds. content: the PNG files by name. starts: initialisation -> its label."""
    title = "A neural network by hand: the course report, made again"
    sections = (first, structure, gradients, curves, two_by_two, why, wrong, claims, limits)
    body = "\n".join(section(results, Images(content), starts) for section in sections)
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>{title}</title>\n'
        f"<style>{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n{body}\n</body>\n</html>\n"
    )


class Images:
    def __init__(self, content: Mapping[str, bytes]) -> None:
        self.content = content

    def __call__(self, name: str, caption: str, width: str = "100%") -> str:
        data = base64.b64encode(self.content[f"{name}.png"]).decode()
        alt = escape(re.sub("<[^>]*>", "", caption))
        return (
            f'<figure style="max-width: {width}"><img alt="{alt}" src="data:image/png;base64,{data}">'
            f"<figcaption>{caption}</figcaption></figure>"
        )


def eq(text: str) -> str:
    text = re.sub(r"\^(\([^)]*\)|\w)", r"<sup>\1</sup>", escape(text))
    return re.sub(r"_(\([^)]*\)|[a-zδ]+|\d)", r"<sub>\1</sub>", text).replace("   ", "&emsp;")


def equations(rows: Iterable[tuple[str, str]]) -> str:
    return '<div class="eqs">' + "".join(
        f'<span class="eq">{eq(text)}</span><span class="why">{eq(why)}</span>' for text, why in rows
    ) + "</div>"  # fmt: skip


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
    lines = [
        line("td", row, ' class="first"' if first_apart and row is body[0] else "") for row in body
    ]
    return f'<div class="scroll"><table>{top}<tbody>{"".join(lines)}</tbody></table></div>'


# The sections, in order


def first(r: Mapping[str, Any], image: Images, starts: Mapping[str, str]) -> str:
    data, settings = r["data"], r["settings"]
    facts = {
        "Data": f"{escape(data['name'])}: {data['rows']['train']} rows to train, {data['rows']['test']} to test, "
        f"{data['features']} features, {len(data['classes'])} classes",
        "Settings": f"{settings['hidden_units']} hidden units, learning rate {settings['learning_rate']}, batches of "
        f"{settings['batch_size']}, {settings['epochs']} epochs (the report's); {settings['optimizer']}, rows in the "
        f"order of the file, {settings['dtype']} (not stated in the report, chosen here)",
        "Seeds": f"{settings['seeds']} networks per configuration, seeds 0 to {settings['seeds'] - 1}",
        "PyTorch": escape(r["pytorch_side"]["label"]) + (
            f", {r['pytorch_side']['seeds']} seeds" if r["pytorch_side"]["itself"] else
            ". <strong>PyTorch itself was not run</strong>: its side is what the gradients derived by hand do from "
            "PyTorch’s initialisation"),
        "Versions": ", ".join(f"{escape(name)} {escape(version)}" for name, version in r["versions"].items()),
        "Command": f"<code>{escape(r['command'])}</code>, {r['seconds']:.0f} seconds",
        "sha256": "<br>".join(f"<code>{digest}</code> {escape(name)}" for name, digest in data["sha256"].items()),
    }  # fmt: skip
    return (
        '<p class="soft">In February 2023 a course report derived the gradients of a small network by hand, trained '
        "it, "
        "and validated it by comparing its curves with PyTorch’s. This page makes that report again, measured, and "
        "asks what such a comparison can show.</p>\n"
        f'<p class="finding">{escape(r["finding"])}</p>\n<h2>1. Data, versions, command</h2>\n'
        "<dl>"
        + "".join(f"<dt>{name}</dt><dd>{text}</dd>" for name, text in facts.items())
        + "</dl>"
    )


def structure(r: Mapping[str, Any], image: Images, starts: Mapping[str, str]) -> str:
    where = [
        (eq(report), eq(corrected), f"<code>{code}</code>") for report, corrected, code in ERRATA
    ]
    return (
        "<h2>2. The networks and their equations</h2>\n"
        + image(
            "network_1", "Figure 1. The report’s “single layer” network: one hidden layer.", "36rem"
        )
        + f"<h3>Forward</h3>{equations(FORWARD)}<h3>Backward</h3>{equations(BACKWARD)}"
        + image(
            "network_2", "Figure 2. The report’s “two-layers” network: two hidden layers.", "46rem"
        )
        + f"<h3>Two hidden layers</h3>{equations(DEEPER)}"
        + "<h3>Errata</h3><p>The equations above are corrected. What the report prints, what it should be, and where "
        "the code of jaxnet does it:</p>" + table(("report", "corrected", "in jaxnet/"), where)
    )


def gradients(r: Mapping[str, Any], image: Images, starts: Mapping[str, str]) -> str:
    rows = []
    for hidden, by_start in r["gradient_errors_in_eps"].items():
        for name in by_start["course"]["start"]:
            cells = [
                by_start[s][at][name][g]
                for s in by_start
                for at in by_start[s]
                for g in ("hand", "auto")
            ]
            rows.append(
                (f"{unbroken(hidden)}, {symbol(name)}", *(f"{value:.1f}" for value in cells))
            )
    head = [
        f"{s}, {when}<br>{g}"
        for s in ("course", "PyTorch")
        for when in ("start", "end")
        for g in ("hand", "auto")
    ]
    return (
        "<h2>3. The gradients</h2>\n<p>Before any curve: the gradient of the mean training loss by hand and by "
        "automatic differentiation (the same graph without the hand-written rules), both in float32, each against the "
        "automatic gradient in float64 at the same parameters. Largest error over all elements and seeds, in units of "
        "float32’s eps (1.2 · 10<sup>−7</sup>) times the largest element; from the course’s and from PyTorch’s "
        "initialisation, before the first and after the last epoch.</p>" + table(("parameter", *head), rows, numbers=8)
        + '<p class="note">Errors of a few eps are rounding. Starts and ends are both shown because a network does '
        "not meet every case everywhere: where all units of a layer are active, a wrong mask cannot show. A large "
        "entry is a sum that nearly cancels: the gradient of a bias, at the course’s start above all, is a mean of "
        "terms of both signs that leaves next to nothing, beside which the rounding of the terms, a fraction of an eps "
        "each, is large; for hand and auto alike.</p>"
    )  # fmt: skip


def curves(r: Mapping[str, Any], image: Images, starts: Mapping[str, str]) -> str:
    side = r["pytorch_side"]
    who = escape(side["label"]) + (
        ", from its own initialisation"
        if side["itself"]
        else "; PyTorch itself was not run on these data"
    )
    text = (
        "<h2>4. Figures A to H</h2>\n<p>The report’s pairs side by side on shared axes. Left: gradients by hand from "
        "the course’s initialisation, 0.01 · U[0, 1) for weights and biases, which the report does not "
        f"state but which makes such curves. Right: {who}. A thin line is a seed, the bold one "
        "seed 0; training solid, test dashed. Dotted: what a network that knows nothing has.</p>\n"
    )
    for letters, hidden, metric in PAIRS:
        caption = f"Figures {letters[0]} and {letters[1]}. {metric.capitalize()}, {layers(hidden)}."
        text += image(f"{metric}_{letters}", caption)
    lows, highs = zip(*(wilson(round(f * n), n) for f, n in final_accuracies(r)), strict=True)
    return text + (
        f'<p class="note">The band from scratch is narrow because the seeds differ in their initialisation only: it '
        f"is no statement about other test sets. One test row is {100 / r['data']['rows']['test']:.2g} points; with "
        f"that many rows the 95 % intervals (Wilson) of the four final accuracies lie between {100 * min(lows):.1f} "
        f"and {100 * max(highs):.1f} %.</p>"
    )


def final_accuracies(r: Mapping[str, Any]) -> list[tuple[float, int]]:
    rows = r["data"]["rows"]["test"]
    gradient = "pytorch" if r["pytorch_side"]["itself"] else "hand"
    finals = [
        f for by in r["medians"].values() for f in (by["hand"]["course"], by[gradient]["PyTorch"])
    ]
    return [(f["final_test_accuracy"], rows) for f in finals]


def two_by_two(r: Mapping[str, Any], image: Images, starts: Mapping[str, str]) -> str:
    differences = []
    for hidden, by_start in r["hand_against_auto"].items():
        for start, c in by_start.items():
            loss = (
                f"{c['largest_loss_difference']:.1e}"
                if c["largest_loss_difference"]
                else "none: bitwise equal"
            )
            equal = c["accuracies"] - c["accuracies_different"]
            differences.append((unbroken(hidden), start, loss, f"{equal} of {c['accuracies']}"))
    rows = []
    early = f"train_loss_mean_1_to_{LIMITS.slow_epochs}"
    for hidden, by_gradient in r["medians"].items():
        for start in ("course", "PyTorch"):
            for gradient in by_gradient:
                f = by_gradient[gradient][start]
                who = "PyTorch itself" if gradient == "pytorch" else gradient
                numbers = (
                    f[early],
                    f["final_train_loss"],
                    f["final_test_loss"],
                    100 * f["final_test_accuracy"],
                )
                rows.append(
                    (
                        unbroken(hidden),
                        start,
                        who,
                        *(f"{v:.4f}" for v in numbers[:3]),
                        f"{numbers[3]:.2f} %",
                    )
                )
    effect = "; ".join(
        f"{layers(hidden)}: up to {e['largest']:.3f} (epoch {e['in_epoch']}), {e['final']:.3f} after the last epoch"
        for hidden, e in r["effect_of_initialisation"].items()
    )
    itself = r["pytorch_side"]["itself"]
    return (
        "<h2>5. Is it the gradient, or the start?</h2>\n<p>The report’s two sides differ in two things: who derived "
        "the gradient, and where the network started. Here each is changed alone.</p>"
        + image("hand_and_auto", "Training loss of seed 0: automatic gradients wide and pale, gradients by hand thin "
                "and dark on top of them" + (", PyTorch itself as dots (other random numbers)." if itself else "."))
        + "<h3>Hand against auto, from the same start</h3>"
        + table(("network", "initialisation", "largest difference of any loss, training or test, any epoch and seed",
                 "accuracies equal"), differences, numbers=2)
        + f"<h3>The effect of the start</h3><p>Median training loss from the course’s start less that from PyTorch’s, "
        f"gradients by hand: {effect}.</p>"
        + table(("network", "initialisation", "gradient", f"training loss, mean of epochs 1–{LIMITS.slow_epochs}",
                 "final training loss", "final test loss", "final test accuracy"), rows, numbers=4)
        + '<p class="note">Medians over seeds.' + (" PyTorch from the course’s start is to be compared with hand from "
        "the course’s start." if itself else " PyTorch itself was not run on these data.") + "</p>"
    )  # fmt: skip


def why(r: Mapping[str, Any], image: Images, starts: Mapping[str, str]) -> str:
    rows, seeds = [], r["settings"]["seeds"]
    for hidden, by_start in r["initialisations"].items():
        reference = by_start["PyTorch"]["gradient_norms_at_start"][0]
        for start, label in starts.items():
            about = by_start[start]
            norms = about["gradient_norms_at_start"]
            high = about["above"]
            reached = (
                f"{high if high == 'never' else f'{high:g}'} ({about['seeds_above']} of {seeds})"
            )
            rows.append((unbroken(hidden), label, ", ".join(f"{n:.2g}" for n in norms), f"{reference / norms[0]:.3g}",
                         reached, f"{about['final_train_loss']:.3f}",
                         f"{100 * about['final_test_accuracy']:.2f} %"))  # fmt: skip
    return (
        "<h2>6. Why the start matters</h2>\n<p>Four initialisations: the course’s scale 0.01 or PyTorch’s 1/√fan-in, "
        "each with values of both signs or positive ones only. Weights of scale ε pass a gradient on that is smaller "
        "by about ε times a sum over units: with signs the terms of that sum cancel, without them they add up.</p>"
        + image("initialisations", "Training loss from four initialisations, gradients by hand.")
        + image("gradient_norms", "Norm of ∂L/∂W of each layer along training, on the whole training set; the last "
                "layer dashed.")
        + table(("network", "initialisation", "|∂L/∂W| at the start, first to last", "PyTorch’s first / this first",
                 f"above {LIMITS.high} % for good from (seeds)", "final training loss", "final test accuracy"), rows,
                numbers=4)
        + '<p class="note">Medians over seeds.</p>'
    )  # fmt: skip


def wrong(r: Mapping[str, Any], image: Images, starts: Mapping[str, str]) -> str:
    faults, settings = r["faults"], r["settings"]
    rows = []
    for f in faults:
        looks = "" if f is faults[0] else "right" if f["looks_right"] else "wrong"
        if f["diverged"]:
            looks = "diverged"
        rows.append((escape(f["words"]), f"<span class='eq'>{escape(f['right'])}</span>",
                     f"<span class='eq'>{escape(f['wrong'])}</span>", f"{f['accuracy']:.2f} %", looks,
                     f"{percent(f['error'])} ({symbol(f['worst'])})"))  # fmt: skip
    planted = faults[1:]
    alike = [f["words"] for f in planted if f["looks_right"]]
    smallest = min(f["error"] for f in planted)
    return (
        "<h2>7. Wrong gradients that train</h2>\n"
        f"<p>{len(planted)} backward rules with one planted mistake each; every forward pass is right. Each trains the "
        f"network with one hidden layer from PyTorch’s initialisation, {settings['seeds']} seeds, with the report’s "
        f"settings. “Looks right”: the median final test accuracy is at most half a point below that of the right "
        f"rules. <strong>{len(alike)} of {len(planted)} look right; all are wrong by {percent(smallest)} or more."
        "</strong></p>"
        + image("wrong_gradients", "Test accuracy along training, and at its end beside the error of the gradient.")
        + table(("mistake", "should be", "is", "final test accuracy", "looks", "gradient error (parameter)"), rows,
                numbers=3, first_apart=True)
        + '<p class="note">Gradient error: |g − t| / |t| of the worst parameter at the start, median over seeds; g in '
        "float32 with the rule as planted, t automatic in float64. Bars mark derivatives of the loss: ȳ is that of a "
        "rule’s output, x̄, W̄, b̄ those of its arguments.</p>"
    )  # fmt: skip


def claims(r: Mapping[str, Any], image: Images, starts: Mapping[str, str]) -> str:
    own, side = r["data"]["reports_own"], r["pytorch_side"]
    text = (
        "<h2>8. What the report claims</h2>\n<p>Definitions and thresholds were fixed before the runs. “Scratch” is "
        f"gradients by hand from the course’s initialisation; the other side is {escape(side['label'])}"
        + ("" if side["itself"] else ", as PyTorch itself was not run")
        + ". Numbers are medians with [smallest – largest] over seeds, or over pairs of seeds. “Every seed” failing, a "
        "claim holds in part where at least half of the seeds of each side fulfil it, if nothing else is said. "
        + (
            ""
            if own
            else "<strong>These are not the report’s data: the numbers are shown, and nothing is judged.</strong>"
        )
        + "</p>"
    )
    for c in r["claims"]:
        rows = [(m["what"], escape(m["source"]), spread(m)) for m in c["measures"]]
        text += (
            f'<div class="claim" id="{c["id"]}"><header><span>{c["section"]}: <q>{escape(c["quote"])}</q></span>'
            f'<span class="verdict">{c["verdict"]}</span></header><p class="note">{escape(c["definition"])}.</p>'
            + table((), rows, numbers=1) + "</div>"
        )  # fmt: skip
    return text


def limits(r: Mapping[str, Any], image: Images, starts: Mapping[str, str]) -> str:
    settings, rows = r["settings"], r["data"]["rows"]
    itself = r["pytorch_side"]["itself"]
    points = (
        "What the report did not state is not known here either: its initialisation, the order of its rows, its "
        "optimizer, its seed. The course’s starter initialisation, file order and plain SGD are assumptions under "
        "which its curves can be made again, not facts about it.",
        f"{rows['test']} test rows decide, and the report used them for validation too: differences of a row or two "
        "mean nothing, and no accuracy here is an estimate from data that nobody looked at.",
        f"{settings['seeds']} seeds vary the initialisation alone; data, order and settings are fixed.",
        f"Whether a wrong rule shows depends on data, network, learning rate and length of the run: the count of "
        f"section 7 is for these, and for these {len(r['faults']) - 1} mistakes, which were chosen as mistakes that "
        "people make. With two hidden layers, or another learning rate, other ones show.",
        "The reference for gradients is automatic differentiation in float64, which is itself software; that it agrees "
        "with equations derived on paper is evidence for both.",
        "" if itself else "PyTorch itself was not run on these data; add --torch to do so.",
        "Figures read from the report’s captions: that F and H show accuracies is an inference.",
        ""
        if r["data"]["reports_own"]
        else "These are not the report’s data, so no claim of the report is judged here.",
    )
    return (
        "<h2>9. Limits</h2>\n<ul>"
        + "".join(f"<li>{point}</li>" for point in points if point)
        + "</ul>"
    )


def unbroken(hidden: int) -> str:
    return layers(hidden).replace(" ", "&nbsp;")


def symbol(name: str) -> str:
    """W1 -> W with a high (1), as in the equations."""
    return f'<span class="eq">{eq(f"{name[0]}^({name[1:]})")}</span>'


def percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.01 else f"{100 * share:.5f} %"


def spread(measure: Mapping[str, Any]) -> str:
    """The median, and the range where there is one."""
    median, low, high = (
        v if isinstance(v, str) else f"{v:.4g}"
        for v in (measure[k] for k in ("median", "min", "max"))
    )
    unit = f" {escape(measure['unit'])}" if measure["unit"] else ""
    return f"{median}{unit}" if low == high else f"{median} [{low} – {high}]{unit}"
