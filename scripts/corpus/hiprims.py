"""HiPrims whose methods are right, and for each method ways in which it is wrong.

Imported only where jax.experimental.hijax has HiPrim.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.hijax import (
    HiPrim,
    NullAccum,
    RefAccum,
    Zero,
    linearize_from_jvp,
    vjp_from_jvp,
)


def is_zero(t):
    return isinstance(t, Zero)


def dense(t):
    return jnp.zeros(t.aval.shape, t.aval.dtype) if is_zero(t) else t


def applied(cls, *args, **params):
    return cls(*map(jax.typeof, args), **params)(*args)


# ---- sin(x) * y, with every method but transpose


class Wave(HiPrim):
    def __init__(self, x, y):
        self.in_avals, self.out_aval, self.params = (x, y), x, {}
        HiPrim.__init__(self)

    def expand(self, x, y):
        return jnp.sin(x) * y

    def vjp_fwd(self, nzs_in, x, y):
        return self(x, y), (x, y)

    def vjp_bwd_retval(self, residuals, g):
        x, y = residuals
        return g * jnp.cos(x) * y, g * jnp.sin(x)

    def jvp(self, primals, tangents):
        (x, y), (dx, dy) = primals, map(dense, tangents)
        return self(x, y), dx * jnp.cos(x) * y + dy * jnp.sin(x)

    def lin(self, nzs_in, x, y):
        return self(x, y), (jnp.cos(x) * y, jnp.sin(x))

    def linearized(self, residuals, dx, dy):
        by_x, by_y = residuals
        return dense(dx) * by_x + dense(dy) * by_y

    def batch(self, axis_data, args, dims):
        x, y = (a if d is None else jnp.moveaxis(a, d, 0) for a, d in zip(args, dims, strict=True))
        shape = (axis_data.size, *self.out_aval.shape)
        x, y = jnp.broadcast_to(x, shape), jnp.broadcast_to(y, shape)
        return applied(type(self), x, y), 0

    def remat(self, trace, x, y):
        kept = jnp.sin(x)
        return self(x, y), (kept,), lambda kept, x, y: self(x, y)

    def dce(self, used_outs, live_ins=None):
        return True, True, self


class Accumulating(Wave):
    """The same, told where to put its cotangents."""

    def vjp_bwd(self, residuals, g, x_acc, y_acc):
        x, y = residuals
        x_acc.accum(g * jnp.cos(x) * y)
        y_acc.accum(g * jnp.sin(x))


class FromJvp(HiPrim):
    """The same, everything of derivatives derived from jvp."""

    __init__, expand, jvp = Wave.__init__, Wave.expand, Wave.jvp
    lin, linearized = linearize_from_jvp
    vjp_fwd, vjp_bwd_retval = vjp_from_jvp


class ForwardOnly(HiPrim):
    """The same, without reverse mode."""

    __init__, expand, jvp = Wave.__init__, Wave.expand, Wave.jvp


class Looped(Wave):
    """The same, its expand without reverse mode."""

    def expand(self, x, y):
        return jax.lax.while_loop(
            lambda state: state[0] < 1, lambda state: (state[0] + 1, jnp.sin(x) * y), (0, y)
        )[1]


class OnTheHost(Wave):
    """The same, its expand without any derivative."""

    def expand(self, x, y):
        def on_host(x, y):
            return np.asarray(np.sin(x) * y, x.dtype)

        return jax.pure_callback(on_host, jax.typeof(x), x, y, vmap_method="expand_dims")


# ---- (sin(x), y cos(x)): two outputs


class Pair(HiPrim):
    def __init__(self, x, y):
        self.in_avals, self.out_aval, self.params = (x, y), (x, x), {}
        super().__init__()

    def expand(self, x, y):
        return jnp.sin(x), y * jnp.cos(x)

    def vjp_fwd(self, nzs_in, x, y):
        return self(x, y), (x, y)

    def vjp_bwd_retval(self, residuals, g):
        (x, y), (gs, gc) = residuals, map(dense, g)
        return gs * jnp.cos(x) - gc * y * jnp.sin(x), gc * jnp.cos(x)

    def dce(self, used_outs, live_ins=None):
        if used_outs[0] and not used_outs[1]:
            return (True, False), (True, False), Sine(self.in_avals[0])
        return True, True, self


class Sine(HiPrim):
    def __init__(self, x):
        self.in_avals, self.out_aval, self.params = (x,), (x,), {}
        super().__init__()

    def expand(self, x):
        return (jnp.sin(x),)

    def vjp_fwd(self, nzs_in, x):
        return self(x), x

    def vjp_bwd_retval(self, x, g):
        return (dense(g[0]) * jnp.cos(x),)


# ---- x W, linear in each of its arguments


class Product(HiPrim):
    def __init__(self, x, w):
        self.in_avals, self.out_aval, self.params = (x, w), x, {}
        super().__init__()

    def expand(self, x, w):
        return x @ w

    def transpose(self, g, x, w):
        if hasattr(x, "accum"):
            x.accum(g @ w.T)
        if hasattr(w, "accum"):
            w.accum(x.T @ g)

    def jvp(self, primals, tangents):
        (x, w), (dx, dw) = primals, map(dense, tangents)
        return self(x, w), self(dx, w) + self(x, dw)

    vjp_fwd, vjp_bwd_retval = Wave.vjp_fwd, lambda self, xw, g: (g @ xw[1].T, xw[0].T @ g)


# ---- |x| at kinks, and with values in integers


class Size(HiPrim):
    def __init__(self, x):
        self.in_avals, self.out_aval, self.params = (x,), x, {}
        super().__init__()

    def expand(self, x):
        return jnp.abs(x)

    def slope(self, x):
        return jnp.where(x < 0, -1.0, 1.0).astype(x.dtype)

    def vjp_fwd(self, nzs_in, x):
        return self(x), x

    def vjp_bwd_retval(self, x, g):
        return (g * self.slope(x),)

    def jvp(self, primals, tangents):
        return self(*primals), dense(*tangents) * self.slope(*primals)


class Taken(HiPrim):
    """x[i] for integers i."""

    def __init__(self, x, i):
        self.in_avals, self.params = (x, i), {}
        self.out_aval = jax.typeof(jnp.zeros((*i.shape, *x.shape[1:]), x.dtype))
        super().__init__()

    def expand(self, x, i):
        return x[i]

    def vjp_fwd(self, nzs_in, x, i):
        return self(x, i), (x, i)

    def vjp_bwd_retval(self, residuals, g):
        x, i = residuals
        return jnp.zeros_like(x).at[i].add(g), None

    def jvp(self, primals, tangents):
        return self(*primals), self(dense(tangents[0]), primals[1])


# ---- the faults


class Fault(NamedTuple):
    cls: type
    method: str  # that is to be named
    args: Any


X = np.random.default_rng(1).normal(size=(4, 4)).astype(np.float32)
Y = np.random.default_rng(2).normal(size=(4, 4)).astype(np.float32)
AT_KINKS = np.float32([-1, 0, 2, 0])
FAULTS: dict[str, Fault] = {}


def fault(name, base, *methods, named=None, args=(X, Y)):
    """The decorated class gives the wrong methods; what is not named otherwise is the first."""

    def register(given):
        cls = type(given.__name__, (base,), {m: vars(given)[m] for m in methods})
        FAULTS[name] = Fault(cls, named or methods[0], args)
        return given

    return register


@fault("a backward three times too large", Wave, "vjp_bwd_retval")
class _:
    def vjp_bwd_retval(self, residuals, g):
        x, y = residuals
        return 3 * g * jnp.cos(x) * y, g * jnp.sin(x)


@fault("cotangents in the wrong order", Wave, "vjp_bwd_retval")
class _:
    def vjp_bwd_retval(self, residuals, g):
        x, y = residuals
        return g * jnp.sin(x), g * jnp.cos(x) * y


@fault("a cotangent missing", Wave, "vjp_bwd_retval")
class _:
    def vjp_bwd_retval(self, residuals, g):
        x, y = residuals
        return g * jnp.cos(x) * y, None


@fault("a clipped cotangent", Wave, "vjp_bwd_retval")
class _:
    def vjp_bwd_retval(self, residuals, g):
        x, y = residuals
        return jnp.clip(g, -100, 100) * jnp.cos(x) * y, g * jnp.sin(x)


@fault("a forward of another value", Wave, "vjp_fwd")
class _:
    def vjp_fwd(self, nzs_in, x, y):
        return jnp.cos(x) * y, (x, y)


@fault("residuals in the wrong order", Wave, "vjp_fwd", named="vjp_bwd_retval")
class _:
    def vjp_fwd(self, nzs_in, x, y):
        return self(x, y), (y, x)


@fault("what is not perturbed is not kept", Wave, "vjp_fwd", named="vjp_bwd_retval")
class _:
    def vjp_fwd(self, nzs_in, x, y):
        return self(x, y), (x, y if nzs_in[1] else jnp.ones_like(y))


@fault("a cotangent accumulated twice", Accumulating, "vjp_bwd")
class _:
    def vjp_bwd(self, residuals, g, x_acc, y_acc):
        x, y = residuals
        x_acc.accum(g * jnp.cos(x) * y)
        y_acc.accum(g * jnp.sin(x))
        y_acc.accum(g * jnp.sin(x))


@fault("a reference set, not added to", Accumulating, "vjp_bwd")
class _:
    def vjp_bwd(self, residuals, g, x_acc, y_acc):
        x, y = residuals
        if isinstance(x_acc, RefAccum):
            x_acc.inst().ref[...] = g * jnp.cos(x) * y
        else:
            x_acc.accum(g * jnp.cos(x) * y)
        y_acc.accum(g * jnp.sin(x))


@fault("a reference forgotten", Accumulating, "vjp_bwd")
class _:
    def vjp_bwd(self, residuals, g, x_acc, y_acc):
        x, y = residuals
        x_acc.accum(g * jnp.cos(x) * y)
        if not isinstance(y_acc, RefAccum):
            y_acc.accum(g * jnp.sin(x))


@fault("one argument alone: nothing", Accumulating, "vjp_bwd")
class _:
    def vjp_bwd(self, residuals, g, x_acc, y_acc):
        x, y = residuals
        if not isinstance(x_acc, NullAccum):
            x_acc.accum(g * jnp.cos(x) * y)
            y_acc.accum(g * jnp.sin(x))


@fault("one argument alone: it raises", Accumulating, "vjp_bwd")
class _:
    def vjp_bwd(self, residuals, g, x_acc, y_acc):
        x, y = residuals
        assert not isinstance(y_acc, NullAccum)
        x_acc.accum(g * jnp.cos(x) * y)
        y_acc.accum(g * jnp.sin(x))


@fault("a jvp twice too large", Wave, "jvp")
class _:
    def jvp(self, primals, tangents):
        (x, y), (dx, dy) = primals, map(dense, tangents)
        return self(x, y), 2 * dx * jnp.cos(x) * y + dy * jnp.sin(x)


@fault("a jvp that is affine", Wave, "jvp")
class _:
    def jvp(self, primals, tangents):
        (x, y), (dx, dy) = primals, map(dense, tangents)
        return self(x, y), dx * jnp.cos(x) * y + dy * jnp.sin(x) + 1


@fault("a jvp of another value", Wave, "jvp")
class _:
    def jvp(self, primals, tangents):
        (x, y), (dx, dy) = primals, map(dense, tangents)
        return jnp.sin(y) * x, dx * jnp.cos(x) * y + dy * jnp.sin(x)


@fault("a jvp that takes what stands still for ones", Wave, "jvp")
class _:
    def jvp(self, primals, tangents):
        (x, y), (dx, dy) = primals, tangents
        dy = jnp.ones_like(y) if is_zero(dy) else dy
        return self(x, y), dense(dx) * jnp.cos(x) * y + dy * jnp.sin(x)


@fault("a jvp that is NaN beside a mask", Wave, "jvp")
class _:
    def jvp(self, primals, tangents):
        (x, y), (dx, dy) = primals, map(dense, tangents)
        nan = jnp.log(-jnp.abs(x)) * 0
        return self(x, y), dx * jnp.cos(x) * y + dy * jnp.sin(x) + jnp.where(x > 0, nan, 0)


@fault("a lin of another value", Wave, "lin")
class _:
    def lin(self, nzs_in, x, y):
        return jnp.sin(x), (jnp.cos(x) * y, jnp.sin(x))


@fault("a lin with the wrong residuals", Wave, "lin", named="linearized")
class _:
    def lin(self, nzs_in, x, y):
        return self(x, y), (jnp.cos(x), jnp.sin(x))


@fault("a linearized of the other sign", Wave, "linearized")
class _:
    def linearized(self, residuals, dx, dy):
        by_x, by_y = residuals
        return dense(dx) * by_x - dense(dy) * by_y


@fault("a linearized that is not linear", Wave, "linearized")
class _:
    def linearized(self, residuals, dx, dy):
        by_x, by_y = residuals
        return dense(dx) * by_x + jnp.clip(dense(dy), -50, 50) * by_y


@fault("a linearized that raises for what stands still", Wave, "linearized")
class _:
    def linearized(self, residuals, dx, dy):
        by_x, by_y = residuals
        return dx * by_x + dy * by_y


@fault("a batch of the first example alone", Wave, "batch")
class _:
    def batch(self, axis_data, args, dims):
        x, y = (a if d is None else jnp.take(a, 0, d) for a, d in zip(args, dims, strict=True))
        return jnp.broadcast_to(self(x, y), (axis_data.size, *x.shape)), 0


@fault("a batch that overlooks where the axis is", Wave, "batch")
class _:
    def batch(self, axis_data, args, dims):
        shape = (axis_data.size, *self.out_aval.shape)
        x, y = (jnp.broadcast_to(a.reshape(-1, *self.out_aval.shape), shape) for a in args)
        return applied(Wave, x, y), 0


@fault("a batch with the axis elsewhere", Wave, "batch", args=(X[:2, :2], Y[:2, :2]))
class _:
    def batch(self, axis_data, args, dims):
        out, _ = Wave.batch(self, axis_data, args, dims)
        return out, 1


@fault("a batch without a derivative", Wave, "batch")
class _:
    def batch(self, axis_data, args, dims):
        return Wave.batch(self, axis_data, jax.lax.stop_gradient(args), dims)


@fault("a remat that recomputes something else", Wave, "remat")
class _:
    def remat(self, trace, x, y):
        return self(x, y), (), lambda kept, x, y: self(y, x)


@fault("a remat of another value", Wave, "remat")
class _:
    def remat(self, trace, x, y):
        return self(y, x), (), lambda kept, x, y: self(x, y)


@fault("a remat that keeps what it should differentiate", Wave, "remat")
class _:
    def remat(self, trace, x, y):
        return self(x, y), (jnp.sin(x),), lambda kept, x, y: kept[0] * y


@fault("a dce that swaps outputs", Pair, "dce")
class _:
    def dce(self, used_outs, live_ins=None):
        if used_outs[1] and not used_outs[0]:
            return (True, False), (False, True), Sine(self.in_avals[0])
        return True, True, self


@fault("a dce that drops what is used", Pair, "dce")
class _:
    def dce(self, used_outs, live_ins=None):
        return (True, False), (True, False), Sine(self.in_avals[0])


@fault("a dce that drops an input that is read", Pair, "dce")
class _:
    def dce(self, used_outs, live_ins=None):
        return (True, False), True, self


@fault("an output that is not used has a cotangent of ones", Pair, "vjp_bwd_retval")
class _:
    def vjp_bwd_retval(self, residuals, g):
        (x, y), (gs, gc) = (
            residuals,
            (jnp.ones(a.aval.shape, a.aval.dtype) if is_zero(a) else a for a in g),
        )
        return gs * jnp.cos(x) - gc * y * jnp.sin(x), gc * jnp.cos(x)


@fault("a transpose that is not transposed", Product, "transpose")
class _:
    def transpose(self, g, x, w):
        if hasattr(x, "accum"):
            x.accum(g @ w)
        if hasattr(w, "accum"):
            w.accum(x.T @ g)


@fault("a transpose of one argument alone", Product, "transpose")
class _:
    def transpose(self, g, x, w):
        if hasattr(x, "accum"):
            x.accum(g @ w.T)


@fault("another slope forwards than backwards at a kink", Size, "jvp", args=(AT_KINKS,))
class _:
    def jvp(self, primals, tangents):
        (x,), (dx,) = primals, map(dense, tangents)
        return self(x), dx * jnp.sign(x)


@fault("a slope of 2 at a kink", Size, "vjp_bwd_retval", args=(AT_KINKS,))
class _:
    def vjp_bwd_retval(self, x, g):
        return (g * jnp.where(x == 0, 2, jnp.sign(x)),)


ROWS = np.array([0, 2, 2], np.int32)


@fault("a scatter that sets", Taken, "vjp_bwd_retval", args=(X, ROWS))
class _:
    def vjp_bwd_retval(self, residuals, g):
        x, i = residuals
        return jnp.zeros_like(x).at[i].set(g), None


@fault("a backward that is wrong where expand loops", Looped, "vjp_bwd_retval")
class _:
    def vjp_bwd_retval(self, residuals, g):
        x, _ = residuals
        return g * jnp.cos(x), g * jnp.sin(x)


@fault(
    "a backward that is wrong where expand is on the host",
    OnTheHost,
    "vjp_bwd_retval",
    args=(X[0, :2], Y[0, :2]),
)
class _:
    def vjp_bwd_retval(self, residuals, g):
        x, _ = residuals
        return g * jnp.cos(x), g * jnp.sin(x)


RIGHT = {
    "every method": (Wave, (X, Y)),
    "told where to put cotangents": (Accumulating, (X, Y)),
    "derived from jvp": (FromJvp, (X, Y)),
    "without reverse mode": (ForwardOnly, (X, Y)),
    "expand without reverse mode": (Looped, (X, Y)),
    "expand without a derivative": (OnTheHost, (X[0, :2], Y[0, :2])),
    "two outputs": (Pair, (X, Y)),
    "linear": (Product, (X, Y)),
    "at kinks": (Size, (AT_KINKS,)),
    "integers": (Taken, (X, ROWS)),
    "in bfloat16": (Wave, (X.astype(jnp.bfloat16), Y.astype(jnp.bfloat16))),
}
