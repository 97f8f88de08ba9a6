"""The equations of the two networks, corrected; and what the report prints in their place."""

import re
from collections.abc import Iterable
from html import escape
from typing import NamedTuple

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


class Erratum(NamedTuple):
    printed: str
    corrected: str
    code: str  # file of jaxnet: name


ERRATA = (
    Erratum(
        "“single layer”, “two-layers”",
        "one and two hidden layers: two and three linear maps",
        "models.py: mlp",
    ),
    Erratum("h = ReLU(x)", "h = ReLU(l)", "rules/_activations.py: relu"),
    Erratum(
        "p = exp(max_i x̃_i) / Σ_i exp(x̃_i), which makes all p_i equal",
        "p_i = exp(x̃_i) / Σ_k exp(x̃_k), or exp(x̃_i − max x̃) in both places",
        "rules/_softmax.py: softmax",
    ),
    Erratum(
        "the same numerator inside ∂p_i/∂x̃_j",
        "p_i (δ_ij − p_j) is right for the corrected p",
        "rules/_softmax.py: softmax_backward",
    ),
    Erratum(
        "∂L/∂x̃_j uses the index i twice",
        "−Σ_k y_k (δ_kj − p_j), one index for each sum",
        "rules/_cross_entropy.py: softmax_cross_entropy",
    ),
    Erratum(
        "∂L/∂x̃_j = p_j − y_j",
        "p_j Σ_k y_k − y_j; equal where Σ_k y_k = 1, which is not said",
        "rules/_cross_entropy.py: softmax_cross_entropy_forward",
    ),
    Erratum("b_i in ∂x̃/∂h and ∂x̃/∂W", "b^(2)_i", "rules/_linear.py: linear"),
    Erratum(
        "∂L/∂h_j with x̃_j in the summand",
        "x̃_i in the summand; the result is right",
        "rules/_linear.py: linear_backward",
    ),
    Erratum(
        "∂x̃_k/∂W_ij of Σ_k W_ik h_k + b_i",
        "of Σ_n W_kn h_n + b_k; the result is right",
        "rules/_linear.py: linear_backward",
    ),
    Erratum(
        "∂L/∂W_ij sums over i",
        "sums over k; the result is right",
        "rules/_linear.py: linear_backward",
    ),
    Erratum(
        "a = 1 where l ≥ 0",
        "frameworks take 0 at l = 0, and so does relu; the report’s 1 is an option",
        "rules/_activations.py: relu_backward",
    ),
    Erratum(
        "∂L/∂l_i sums over i, its own index",
        "∂L/∂l_j = a_j Σ_i (p_i − y_i) W^(2)_ij",
        "rules/_activations.py: relu_backward",
    ),
    Erratum(
        "∂L/∂W^(1), ∂L/∂b^(1): promised “for i = 1, 2”, absent",
        "given above",
        "rules/_linear.py: linear_backward",
    ),
    Erratum(
        "the mean over the batch and the update rule: absent",
        "given above",
        "training.py: update_step",
    ),
    Erratum(
        "two hidden layers: no derivation",
        "given above; in code it is the same rules, composed",
        "models.py: mlp",
    ),
    Erratum(
        "Figures E to H are all captioned as losses",
        "read here as E, G losses and F, H accuracies of the two-layer network: an inference",
        "plotting.py: draw_metric",
    ),
)


def eq(text: str) -> str:
    """An equation as HTML."""
    text = re.sub(r"\^(\([^)]*\)|\w)", r"<sup>\1</sup>", escape(text))
    return re.sub(r"_(\([^)]*\)|[a-zδ]+|\d)", r"<sub>\1</sub>", text).replace("   ", "&emsp;")


def equations(rows: Iterable[tuple[str, str]]) -> str:
    """One below the other, each with what it is."""
    lines = (
        f'<span class="eq">{eq(text)}</span><span class="why">{eq(why)}</span>'
        for text, why in rows
    )
    return f'<div class="eqs">{"".join(lines)}</div>'


def symbol(name: str) -> str:
    """W1 -> W with a high (1), as in the equations."""
    return f'<span class="eq">{eq(f"{name[0]}^({name[1:]})")}</span>'
