# %% [markdown]
# # A gradient by hand: written, judged, broken, trained, proved
#
# One backward rule, from the derivation to a proof, in less than a minute on a CPU. It needs a
# clone of jaxnet and `pip install -e .` in it.
#
# This notebook is kept as text; a cell begins at each `# %%`. VS Code, PyCharm and Spyder run the
# cells of the file as it is. For Jupyter or Colab make an .ipynb of it:
# `pip install jupytext`, then `jupytext --to ipynb docs/course/notebook.py`. And
# `python docs/course/notebook.py` runs all of it.

# %%
from pathlib import Path

import jax
import matplotlib.pyplot as plt
import optax

import jaxnet

CLONE = Path(jaxnet.__file__).parents[1]

# %% [markdown]
# ## 1. Write one rule
#
# The affine map, y = x Wᵀ + b, an example in each row. The function that is decorated is the
# mathematics. The *forward* returns the value, and what the *backward* will need. The backward gets
# that and ∂L/∂y, and returns the derivative of L by each argument
# ([derived here](derivation.md#22-backward)).


# %%
@jaxnet.rule
def affine(x, W, b):
    return x @ W.T + b


@affine.forward
def affine_forward(x, W, b):
    return affine.body(x, W, b), (x, W)


@affine.backward
def affine_backward(kept, dy):
    x, W = kept
    dx = dy @ W  # [N, D]
    dW = dy.T @ x  # [M, D]
    db = dy.sum(axis=0)  # [M]
    return dx, dW, db


# %% [markdown]
# ## 2. See it judged
#
# `check` compares it with JAX's derivative of the same function without the rule, element by
# element, and says how small an error it would have noticed. Sizes that differ from each other show
# a transposed matrix.

# %%
keys = jax.random.split(jax.random.key(0), 3)
shapes = {"x": (4, 3), "W": (2, 3), "b": (2,)}
x, W, b = (jax.random.normal(key, s) for key, s in zip(keys, shapes.values(), strict=True))
print(jaxnet.check(affine, x, W, b))

# %% [markdown]
# ## 3. Break it
#
# One line is another: the bias takes the derivative of the first example, not the sum over all. The
# shapes fit, and nothing raises. `but` is the same rule with another backward.


# %%
def careless_backward(kept, dy):
    x, W = kept
    return dy @ W, dy.T @ x, dy[0]  # should be dy.sum(axis=0)


careless = affine.but(backward=careless_backward)
print(jaxnet.check(careless, x, W, b))

# %% [markdown]
# ## 4. Watch it train
#
# The course's network: 10 inputs, 100 hidden units, 2 classes. Both rules, the same start, the same
# 200 epochs. Only the gradient of the biases differs.

# %%
data = jaxnet.datasets.load(CLONE / "data" / "course_twin")
start = jaxnet.init_mlp(jax.random.key(0), (10, 100, 2))


def train(affine):
    def network(params, x):
        first, last = params
        return affine(jaxnet.relu(affine(x, *first)), *last)

    _, history = jaxnet.fit(
        network,
        start,
        train=data.train,
        test=data.test,
        epochs=200,
        batch_size=64,
        optimizer=optax.sgd(0.01),
    )
    return history


curves = {"right": train(affine), "careless": train(careless)}
for name, history in curves.items():
    print(f"{name}: {100 * history.test_accuracy[-1]:.1f} % on the test set")

# %%
figure, axes = plt.subplots(figsize=(7, 3.6), layout="constrained")
for (name, history), color in zip(curves.items(), ("#0072B2", "#D55E00"), strict=True):
    axes.plot(100 * history.test_accuracy, label=name, color=color)
axes.set(xlabel="epoch", ylabel="test accuracy, %", ylim=(45, 100))
axes.legend()
picture = CLONE / "out" / "notebook.png"
picture.parent.mkdir(exist_ok=True)
figure.savefig(picture)
print(f"saved in {picture}")

# %% [markdown]
# A course that looks at curves gives full marks to both. The judge above took a second, named the
# argument, the element and both numbers.

# %% [markdown]
# ## 5. Prove it
#
# `check` compares numbers that are rounded, and needs a tolerance. `prove` evaluates both gradients
# at random points of finite fields, where nothing is rounded: as algebra they are equal, or not.

# %%
print(jaxnet.prove(affine, x, W, b))
print()
print(jaxnet.prove(careless, x, W, b))

# %% [markdown]
# ## Now you
#
# In the cell of section 3 write other mistakes, judge and train them: `x.T @ dy`, which has the
# wrong shape; `2 * dy.T @ x`; `dx = 0 * x`. Which of them does training show? Which does `check`
# miss? Then take the [exercises](exercises): `python -m jaxnet grade FILE` tells what is wrong.
