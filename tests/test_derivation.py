"""The derivation that the course hands out: each formula is true, each line of code is quoted.

A formula that the page gets or loses is missing or left over here: `checked` holds them all.
"""

import ast
import re
from itertools import pairwise
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from pages import ROOT

PAGE = ROOT / "docs" / "course" / "derivation.md"
TEXT = PAGE.read_text(encoding="utf-8")
SIZES = {"D": 4, "H": 5, "K": 6, "M": 3, "N": 2}  # no two alike, so that a wrong shape shows
EPS = 0.1  # of layer norm
SHAPE = re.compile(r"\[[A-Z, ]*\]")
LINK = re.compile(r"\[`(\w+)`\]\(([^)]+)\)")


def shown():
    """Each formula that stands apart or in a table, with its shape; "" where none stands there."""
    for line in re.findall(r"^\$\$(.*)\$\$$", TEXT, re.MULTILINE):
        pieces = [piece.strip() for piece in line.split(r"\qquad")]
        for i, piece in enumerate(pieces):
            if not SHAPE.fullmatch(piece):
                yield piece, next((s for s in pieces[i:] if SHAPE.fullmatch(s)), "")
    for cell, shape in re.findall(r"^\| \$([^$]+)\$[^|]* \| (\[.*?\]) \| `", TEXT, re.MULTILINE):
        if "=" in cell:  # the others are symbols
            yield cell, shape


@pytest.fixture(scope="module")
def said():
    with jax.enable_x64(True):
        return what_jax_says()


@pytest.fixture(scope="module")
def checked(said):
    """Formula -> its left side by JAX, and each of its right sides."""
    one, batch, deep, row = said
    return {
        **forward(one), **softmax(one), **affine(one), **mean(batch), **deeper(deep),
        **without_cancellation(one), **layer_norm(row), **update(),
    }  # fmt: skip


def test_every_formula_is_checked(checked):
    assert {formula for formula, _ in shown()} == set(checked)


def test_both_sides_of_every_formula_are_equal(checked):
    for formula, (truth, *sides) in checked.items():
        assert sides, formula
        for side in sides:
            np.testing.assert_allclose(side, truth, rtol=1e-12, atol=1e-14, err_msg=formula)


def test_the_shapes_in_the_margin_are_those_of_the_formulas(checked):
    for formula, shape in shown():
        if shape:
            expected = tuple(SIZES[letter] for letter in re.findall("[A-Z]", shape))
            one = np.shape(checked[formula][0])
            assert one == expected, formula


# ---- the networks, and what JAX says of them


def network(params, taps, x, y):
    """The mean loss, and what is computed on the way; a tap is added to what it is named for."""
    values = {}

    def keep(name, value):
        values[name] = value + taps.get(name, 0)
        return values[name]

    h = x
    *hidden, (W, b) = params
    for i, (V, c) in enumerate(hidden, 1):
        h = keep(f"h{i}", jnp.maximum(0, keep(f"l{i}", h @ V.T + c)))
    p = keep("p", jax.nn.softmax(keep("z", h @ W.T + b)))
    losses = -(y * jnp.log(p)).sum(axis=-1)
    return losses.mean(), values | {"losses": losses}


def drawn(letters, *rows):
    """The numbers of a network of these sizes."""
    rng = np.random.default_rng(0)
    sizes = [SIZES[letter] for letter in letters]
    params = [(rng.normal(size=(m, n)), rng.normal(size=m)) for n, m in pairwise(sizes)]
    return params, rng.normal(size=(*rows, sizes[0])), rng.dirichlet(np.ones(sizes[-1]), rows)


def differentiated(params, x, y):
    """Those of the network, what is computed of them, and in `d` the derivative of the loss."""
    _, values = network(params, {}, x, y)
    taps = {name: jnp.zeros_like(value) for name, value in values.items() if name != "losses"}
    derivative = jax.value_and_grad(network, (0, 1), has_aux=True)
    (L, values), (by_params, d) = derivative(params, taps, x, y)
    numbers = {"x": x, "y": y, "L": L} | values
    for i, (layer, by_layer) in enumerate(zip(params, by_params, strict=True), 1):
        numbers[f"W{i}"], numbers[f"b{i}"] = layer
        d[f"W{i}"], d[f"b{i}"] = by_layer
    return numbers | {"d": d}


def normed(x):
    return (x - x.mean()) / deviation(x)


def deviation(x):
    return jnp.sqrt(x.var() + EPS)


def all_of_it(one, batch, deep, row):
    one, batch, deep = (differentiated(*numbers) for numbers in (one, batch, deep))
    z, W, b = one["z"], one["W2"], one["b2"]
    one["J"] = {
        "e by z": jax.jacrev(jnp.exp)(z),
        "s by z": jax.grad(lambda z: jnp.exp(z).sum())(z),
        "p by z": jax.jacrev(jax.nn.softmax)(z),
        "z by h, W, b": jax.jacrev(lambda h, W, b: W @ h + b, (0, 1, 2))(one["h1"], W, b),
        "z by l": jax.jacrev(lambda v: W @ jnp.maximum(0, v) + b)(one["l1"]),
    }

    def loss(x, gamma, beta, by_y):
        return (by_y * (gamma * normed(x) + beta)).sum()

    by = {
        "L by x, γ, β": jax.grad(loss, (0, 1, 2))(*row),
        "μ by x": jax.grad(jnp.mean)(row[0]),
        "r by x": jax.grad(lambda x: 1 / deviation(x))(row[0]),
        "x̂ by x": jax.jacrev(normed)(row[0]),
    }
    return one, batch, deep, {"x": row[0], "gamma": row[1], "dy": row[3], "J": by}


def what_jax_says():
    """In one program: of one example, of a batch, of two hidden layers, of a row of layer norm."""
    row = np.random.default_rng(1).normal(size=(4, SIZES["D"]))
    arguments = drawn("DHM"), drawn("DHM", SIZES["N"]), drawn("DHKM"), row
    found = jax.tree.map(np.asarray, jax.jit(all_of_it)(*arguments))
    for numbers in found[:3]:
        numbers["d"] = SimpleNamespace(**numbers["d"])
    one, batch, deep, row = (SimpleNamespace(**numbers) for numbers in found)
    one.l, one.h, one.a = one.l1, one.h1, (one.l1 > 0).astype(float)
    one.e, one.m, one.I = np.exp(one.z), one.z.max(), np.eye(SIZES["M"])
    one.s = one.e.sum()
    return one, batch, deep, row


# ---- the formulas, section by section


def forward(o):
    below = np.exp(o.z - o.m)
    return {
        r"l_j = \sum_k W_{jk}^{(1)} x_k + b_j^{(1)}": (
            o.l, np.einsum("jk,k->j", o.W1, o.x) + o.b1,
        ),
        r"h_j = \max(0, l_j)": (o.h, np.maximum(0, o.l)),
        r"\tilde x_i = \sum_j W_{ij}^{(2)} h_j + b_i^{(2)}": (
            o.z, np.einsum("ij,j->i", o.W2, o.h) + o.b2,
        ),
        r"p_i = \frac{\exp(\tilde x_i)}{\sum_k \exp(\tilde x_k)}": (o.p, o.e / o.s),
        r"L = - \sum_i y_i \log p_i": (o.L, -np.sum(o.y * np.log(o.p))),
        r"m = \max_k \tilde x_k": (max(o.z), o.m),
        r"p_i = \frac{\exp(\tilde x_i - m)}{\sum_k \exp(\tilde x_k - m)}": (
            o.p, below / below.sum(),
        ),
    }  # fmt: skip


def softmax(o):
    de, ds, dp = (o.J[name] for name in ("e by z", "s by z", "p by z"))
    outer = np.outer(o.p, np.ones_like(o.p))
    q = o.d.p - np.sum(o.p * o.d.p)
    return {
        r"\partial L / \partial v"
        r" = \sum_i (\partial L / \partial u_i) (\partial u_i / \partial v)": (
            o.d.l1, o.d.z @ o.J["z by l"],
        ),
        r"\partial e_i / \partial \tilde x_j = \delta_{ij} e_i": (de, o.I * o.e[:, None]),
        r"\partial s / \partial \tilde x_j = e_j": (ds, o.e),
        r"\partial L / \partial p_i = - y_i / p_i": (o.d.p, -o.y / o.p),
        r"\partial p_i / \partial \tilde x_j"
        r" = \delta_{ij} e_i / s - e_i e_j / s^2 = p_i (\delta_{ij} - p_j)": (
            dp,
            o.I * o.e[:, None] / o.s - np.outer(o.e, o.e) / o.s**2,
            outer * (o.I - o.p),
        ),
        r"\partial L / \partial \tilde x_j"
        r" = - \sum_i y_i (\delta_{ij} - p_j) = p_j \sum_i y_i - y_j = p_j - y_j": (
            o.d.z, -o.y @ (o.I - o.p), o.p * o.y.sum() - o.y, o.p - o.y,
        ),
        r"q_j = \partial L / \partial p_j - \sum_i p_i (\partial L / \partial p_i)": (
            o.d.z / o.p, q,
        ),
        r"\partial L / \partial \tilde x_j = p_j q_j": (o.d.z, o.p * q),
    }  # fmt: skip


def affine(o):
    dh, dW, db = o.J["z by h, W, b"]
    return {
        r"\partial \tilde x_i / \partial h_j = W_{ij}^{(2)}": (dh, o.W2),
        r"\partial \tilde x_i / \partial W_{kj}^{(2)} = \delta_{ik} h_j": (
            dW, np.einsum("ik,j->ikj", o.I, o.h),
        ),
        r"\partial \tilde x_i / \partial b_k^{(2)} = \delta_{ik}": (db, o.I),
        r"\partial L / \partial h_j = \sum_i (\partial L / \partial \tilde x_i) W_{ij}^{(2)}": (
            o.d.h1, np.einsum("i,ij->j", o.d.z, o.W2),
        ),
        r"\partial L / \partial W_{kj}^{(2)} = (\partial L / \partial \tilde x_k) h_j": (
            o.d.W2, np.einsum("k,j->kj", o.d.z, o.h),
        ),
        r"\partial L / \partial b_k^{(2)} = \partial L / \partial \tilde x_k": (o.d.b2, o.d.z),
        r"\partial L / \partial l_j = a_j (\partial L / \partial h_j)": (o.d.l1, o.a * o.d.h1),
        r"\partial L / \partial W_{jk}^{(1)} = (\partial L / \partial l_j) x_k": (
            o.d.W1, np.einsum("j,k->jk", o.d.l1, o.x),
        ),
        r"\partial L / \partial b_j^{(1)} = \partial L / \partial l_j": (o.d.b1, o.d.l1),
    }  # fmt: skip


def mean(n):
    """Over the rows of a batch; where an example is a column, the arrays are transposed."""
    dz = (n.p - n.y) / len(n.y)
    return {
        r"L = \frac{1}{N} \sum_n L_n": (n.L, n.losses.sum() / len(n.losses)),
        r"\partial L / \partial \tilde x_{ni} = \frac{1}{N} (p_{ni} - y_{ni})": (n.d.z, dz),
        r"\partial L / \partial W_{kj}^{(2)}"
        r" = \sum_n (\partial L / \partial \tilde x_{nk}) h_{nj}": (
            n.d.W2, np.einsum("nk,nj->kj", n.d.z, n.h1),
        ),
        r"\partial L / \partial b_k^{(2)} = \sum_n \partial L / \partial \tilde x_{nk}": (
            n.d.b2, np.einsum("nk->k", n.d.z),
        ),
        r"\tilde x = h (W^{(2)})^\top + b^{(2)}": (n.z, n.h1 @ n.W2.T + n.b2),
        r"\partial L / \partial W^{(2)} = (\partial L / \partial \tilde x)^\top h": (
            n.d.W2, n.d.z.T @ n.h1,
        ),
        r"\partial L / \partial h = (\partial L / \partial \tilde x) W^{(2)}": (
            n.d.h1, n.d.z @ n.W2,
        ),
        r"\tilde x = W^{(2)} h + b^{(2)}": (n.z.T, n.W2 @ n.h1.T + n.b2[:, None]),
        r"\partial L / \partial W^{(2)} = (\partial L / \partial \tilde x) h^\top": (
            n.d.W2, n.d.z.T @ n.h1.T.T,
        ),
        r"\partial L / \partial h = (W^{(2)})^\top (\partial L / \partial \tilde x)": (
            n.d.h1.T, n.W2.T @ n.d.z.T,
        ),
    }  # fmt: skip


def deeper(t):
    a1, a2 = (t.l1 > 0).astype(float), (t.l2 > 0).astype(float)
    return {
        r"\partial L / \partial l_j^{(2)}"
        r" = a_j^{(2)} \sum_i (\partial L / \partial \tilde x_i) W_{ij}^{(3)}": (
            t.d.l2, a2 * np.einsum("i,ij->j", t.d.z, t.W3),
        ),
        r"\partial L / \partial l_k^{(1)}"
        r" = a_k^{(1)} \sum_j (\partial L / \partial l_j^{(2)}) W_{jk}^{(2)}": (
            t.d.l1, a1 * np.einsum("j,jk->k", t.d.l2, t.W2),
        ),
        r"\partial L / \partial W_{ij}^{(3)} = (\partial L / \partial \tilde x_i) h_j^{(2)}": (
            t.d.W3, np.einsum("i,j->ij", t.d.z, t.h2),
        ),
        r"\partial L / \partial W_{jk}^{(2)} = (\partial L / \partial l_j^{(2)}) h_k^{(1)}": (
            t.d.W2, np.einsum("j,k->jk", t.d.l2, t.h1),
        ),
    }  # fmt: skip


def update():
    theta, by_theta, rate = np.ones(3), np.arange(3.0), 0.25
    sgd = optax.sgd(rate)
    step, _ = sgd.update(by_theta, sgd.init(theta), theta)
    return {
        r"\theta \leftarrow \theta - \eta (\partial L / \partial \theta)": (
            theta + step, theta - rate * by_theta,
        )
    }  # fmt: skip


def without_cancellation(o):
    """At a class c that is not the one of the largest logit, and where it is."""
    sides = {"loss": [], "other": [], "of_c": []}
    for c in (o.z.argmin(), o.z.argmax()):
        d = o.z - o.m
        e, others = np.exp(d), np.arange(len(d)) != c
        s = e[others].sum()
        t = s + e[c]
        truth = o.p - (~others)
        sides["of_c"].append((truth[c], -s / t))
        sides["other"].append((np.where(others, truth, 0), np.where(others, e / t, 0)))
        sides["loss"].append((-np.log(o.p[c]), np.log(t) - d[c]))
    np.testing.assert_allclose(sides["loss"][-1][0], np.log(1 + s))  # of the largest
    pairs = {name: tuple(map(np.stack, zip(*both, strict=True))) for name, both in sides.items()}
    for name, (truth, side) in pairs.items():
        np.testing.assert_allclose(side, truth, rtol=1e-12, err_msg=name)
    return {
        r"\partial L / \partial \tilde x_c = -s / t": sides["of_c"][0],
        r"\partial L / \partial \tilde x_j = e_j / t": sides["other"][0],
        r"L = \log t - d_c": sides["loss"][0],
    }


def layer_norm(row):
    x, gamma, dy = row.x, row.gamma, row.dy
    dx, dgamma, dbeta = row.J["L by x, γ, β"]
    dmu, dr, dhat = (row.J[name] for name in ("μ by x", "r by x", "x̂ by x"))
    size, r = len(x), 1 / np.sqrt(x.var() + EPS)
    hat = r * (x - x.mean())
    g = gamma * dy
    return {
        r"\partial \mu / \partial x_j = 1 / D": (dmu, np.full(size, 1 / size)),
        r"\partial r / \partial x_j = -r^2 \hat x_j / D": (dr, -(r**2) * hat / size),
        r"\partial \hat x_i / \partial x_j = r (\delta_{ij} - 1 / D - \hat x_i \hat x_j / D)": (
            dhat, r * (np.eye(size) - 1 / size - np.outer(hat, hat) / size),
        ),
        r"\partial L / \partial x_j"
        r" = r (g_j - \frac{1}{D} \sum_i g_i - \hat x_j \frac{1}{D} \sum_i g_i \hat x_i)": (
            dx, r * (g - g.sum() / size - hat * (g * hat).sum() / size),
        ),
        r"\partial L / \partial \gamma_i = (\partial L / \partial y_i) \hat x_i": (
            dgamma, dy * hat,
        ),
        r"\partial L / \partial \beta_i = \partial L / \partial y_i": (dbeta, dy),
    }  # fmt: skip


# ---- what the page quotes, and how it is written


def quotations():
    """Each row of a table that quotes the library: the functions in its head, the code."""
    for head, rows in re.findall(r"^(\|.*\]\(.*\n)\|[-|]+\n((?:\|.*\n)+)", TEXT, re.MULTILINE):
        for row in rows.splitlines():
            code = re.findall(r"`([^`]+)`", row.rsplit(" | ", 1)[1])
            yield LINK.findall(head), code


def source(function, file):
    path = (PAGE.parent / file).resolve()
    text = path.read_text(encoding="utf-8")
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef) and node.name == function:
            return ast.get_source_segment(text, node)
    raise AssertionError(f"{file} has no function {function}")


def squeezed(code):
    """Set on one line or on several, it is the same code."""
    return re.sub(r"\s", "", code).replace(",)", ")")


def test_code_beside_a_formula_is_that_of_the_library():
    found = 0
    for functions, quoted in quotations():
        code = squeezed("".join(source(*function) for function in functions))
        for line in quoted:
            assert squeezed(line) in code, line
            found += 1
    assert found == len(re.findall(r"^\| \$.*=.* \| `", TEXT, re.MULTILINE)) + 1  # relu has two


def test_it_is_short():
    assert len(TEXT.splitlines()) <= 250


def test_the_formulas_are_written_so_that_markdown_leaves_them_alone():
    """Some hosts read emphasis, escapes and tables before they read formulas."""
    for formula in re.findall(r"\$+([^$]+)\$+", TEXT):
        assert not re.search(r"[<>*|]|}_|\\[^a-z]", formula), formula
        assert formula.count("{") == formula.count("}")


def test_twelve_errors_have_twelve_solutions():
    errors, solutions = TEXT.split("## 4. Find the error")[1].split("## Solutions")
    numbers = [str(n) for n in range(1, 13)]
    assert re.findall(r"^(\d+)\. ", errors, re.MULTILINE) == numbers
    assert re.findall(r"^(\d+)\. ", solutions, re.MULTILINE) == numbers


def test_what_the_solutions_say_of_a_number_is_so(said):
    """Of the errors whose printed right side can be evaluated."""
    o, *_ = said
    y = 2 * o.y  # adds up to 2
    with jax.enable_x64(True):
        dz = jax.grad(lambda z: -(y * jax.nn.log_softmax(z)).sum())(o.z)
    np.testing.assert_allclose(dz, o.p * y.sum() - y, rtol=1e-12)
    printed = {
        2: (o.p, np.exp(o.m) / o.s),
        3: (o.J["p by z"], o.p[:, None] * (o.I - o.p)),
        5: (dz, o.p - y),
        7: (o.d.h1, (o.p - o.y) @ o.W2),
        8: (o.J["z by h, W, b"][1], np.einsum("ki,j->kij", o.I, o.h)),
        9: (o.d.W2, np.outer(o.p - o.y, o.h)),
    }
    solutions = TEXT.split("## Solutions")[1]
    for number, (truth, side) in printed.items():
        text = re.search(rf"^{number}\. (.*?)(?=^\d|\Z)", solutions, re.DOTALL | re.MULTILINE)[1]
        is_right = "result is right" in text
        assert is_right != ("number is wrong" in text)
        assert is_right == np.allclose(truth, side), number
