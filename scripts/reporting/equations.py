"""The equations of the two networks, corrected; and what the report prints in their place.

Those of the networks are the ones that docs/course/derivation.md derives.
"""

from collections.abc import Iterable
from typing import NamedTuple

from reporting.formulas import inline, mathml

# TeX, and what it is, with TeX between dollars
FORWARD = (
    (r"l_j = \sum_k W_{jk}^{(1)} x_k + b_j^{(1)}", "affine map"),
    (r"h_j = \max(0, l_j)", "ReLU: the hidden units"),
    (r"\tilde x_i = \sum_j W_{ij}^{(2)} h_j + b_i^{(2)}", "affine map: the logits"),
    (r"p_i = \frac{\exp(\tilde x_i)}{\sum_k \exp(\tilde x_k)}", "softmax"),
    (r"L = - \sum_i y_i \log p_i", "cross-entropy of one row"),
    (r"L = \frac{1}{N} \sum_n L_n", "of a batch of N rows: the mean; not in the report"),
)
BACKWARD = (
    (
        r"\partial p_i / \partial \tilde x_j"
        r" = \delta_{ij} e_i / s - e_i e_j / s^2 = p_i (\delta_{ij} - p_j)",
        r"softmax, with $e_i = \exp(\tilde x_i)$ and their sum $s$",
    ),
    (
        r"\partial L / \partial \tilde x_j"
        r" = - \sum_i y_i (\delta_{ij} - p_j) = p_j \sum_i y_i - y_j = p_j - y_j",
        r"the last step where $\sum_i y_i = 1$",
    ),
    (
        r"\partial L / \partial W_{kj}^{(2)} = (\partial L / \partial \tilde x_k) h_j",
        "affine map",
    ),
    (r"\partial L / \partial b_k^{(2)} = \partial L / \partial \tilde x_k", ""),
    (
        r"\partial L / \partial h_j = \sum_i (\partial L / \partial \tilde x_i) W_{ij}^{(2)}",
        "",
    ),
    (
        r"\partial L / \partial l_j = a_j (\partial L / \partial h_j)",
        r"ReLU: $a_j = 1$ where $l_j \gt 0$, 0 where $l_j \lt 0$, by convention 0 at $l_j = 0$",
    ),
    (
        r"\partial L / \partial W_{jk}^{(1)} = (\partial L / \partial l_j) x_k",
        "not in the report",
    ),
    (r"\partial L / \partial b_j^{(1)} = \partial L / \partial l_j", "not in the report"),
    (
        r"\theta \leftarrow \theta - \eta (\partial L / \partial \theta)",
        "update of every parameter θ with learning rate η; not in the report",
    ),
)
DEEPER = (
    (
        r"l^{(1)} = W^{(1)} x + b^{(1)} \qquad l^{(2)} = W^{(2)} h^{(1)} + b^{(2)}"
        r" \qquad \tilde x = W^{(3)} h^{(2)} + b^{(3)}",
        "",
    ),
    (
        r"\partial L / \partial l_j^{(2)}"
        r" = a_j^{(2)} \sum_i (\partial L / \partial \tilde x_i) W_{ij}^{(3)}",
        "as above",
    ),
    (
        r"\partial L / \partial l_k^{(1)}"
        r" = a_k^{(1)} \sum_j (\partial L / \partial l_j^{(2)}) W_{jk}^{(2)}",
        "the same step once more; not in the report",
    ),
    (
        r"\partial L / \partial W_{ij}^{(3)} = (\partial L / \partial \tilde x_i) h_j^{(2)}",
        "not in the report",
    ),
    (
        r"\partial L / \partial W_{jk}^{(2)} = (\partial L / \partial l_j^{(2)}) h_k^{(1)}",
        "not in the report",
    ),
)


class Erratum(NamedTuple):
    """Texts with TeX between dollars."""

    printed: str
    corrected: str
    code: str  # file of jaxnet: name


ERRATA = (
    Erratum(
        "“single layer”, “two-layers”",
        "one and two hidden layers: two and three linear maps",
        "models.py: mlp",
    ),
    Erratum(r"$h = \mathrm{ReLU}(x)$", r"$h = \mathrm{ReLU}(l)$", "rules/_activations.py: relu"),
    Erratum(
        r"$p = \exp(\max_i \tilde x_i) / \sum_i \exp(\tilde x_i)$, which makes all p equal",
        r"$p_i = \exp(\tilde x_i) / \sum_k \exp(\tilde x_k)$,"
        r" or $\exp(\tilde x_i - m)$ in both places, $m = \max_k \tilde x_k$",
        "rules/_softmax.py: softmax",
    ),
    Erratum(
        r"the same numerator inside $\partial p_i / \partial \tilde x_j$",
        r"$p_i (\delta_{ij} - p_j)$ is right for the corrected p",
        "rules/_softmax.py: softmax_backward",
    ),
    Erratum(
        r"$\partial L / \partial \tilde x_j$ uses the index i twice",
        r"$- \sum_k y_k (\delta_{kj} - p_j)$, one index for each sum",
        "rules/_cross_entropy.py: softmax_cross_entropy",
    ),
    Erratum(
        r"$\partial L / \partial \tilde x_j = p_j - y_j$",
        r"$p_j \sum_k y_k - y_j$; equal where $\sum_k y_k = 1$, which is not said",
        "rules/_cross_entropy.py: softmax_cross_entropy_forward",
    ),
    Erratum(
        r"$b_i$ in $\partial \tilde x / \partial h$ and $\partial \tilde x / \partial W$",
        r"$b_i^{(2)}$",
        "rules/_linear.py: linear",
    ),
    Erratum(
        r"$\partial L / \partial h_j$ with $\tilde x_j$ in the summand",
        r"$\tilde x_i$ in the summand; the result is right",
        "rules/_linear.py: linear_backward",
    ),
    Erratum(
        r"$\partial \tilde x_k / \partial W_{ij}$ of $\sum_k W_{ik} h_k + b_i$",
        r"of $\sum_n W_{kn} h_n + b_k$; the result is right",
        "rules/_linear.py: linear_backward",
    ),
    Erratum(
        r"$\partial L / \partial W_{ij}$ sums over i",
        "sums over k; the result is right",
        "rules/_linear.py: linear_backward",
    ),
    Erratum(
        r"$a = 1$ where $l \ge 0$",
        r"frameworks take 0 at $l = 0$, and so does relu; the report’s 1 is an option",
        "rules/_activations.py: relu_backward",
    ),
    Erratum(
        r"$\partial L / \partial l_i$ sums over i, its own index",
        r"$\partial L / \partial l_j = a_j \sum_i (p_i - y_i) W_{ij}^{(2)}$",
        "rules/_activations.py: relu_backward",
    ),
    Erratum(
        r"$\partial L / \partial W^{(1)}$, $\partial L / \partial b^{(1)}$:"
        " promised “for i = 1, 2”, absent",
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


def equations(rows: Iterable[tuple[str, str]]) -> str:
    """One below the other, each with what it is."""
    lines = (
        f'<span class="eq">{mathml(tex, apart=True)}</span><span class="why">{inline(why)}</span>'
        for tex, why in rows
    )
    return f'<div class="eqs">{"".join(lines)}</div>'


def symbol(name: str) -> str:
    """W1 -> W with a high (1), as in the equations."""
    return mathml(f"{name[0]}^{{({name[1:]})}}")
