"""Who computes what, where the caller has set a mesh of devices with `jax.set_mesh`.

JAX divides the work and adds up the gradients. Here is only said what is divided over the first
axis of the mesh: the rows of each batch or, where several networks are trained at once, these.
"""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import jax
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from numpy.typing import NDArray

Tree = TypeVar("Tree")
Function = TypeVar("Function", bound=Callable[..., Any])
# JAX has not annotated these.
_over = cast(Any, PartitionSpec)
_constrained = cast(Any, jax.lax.with_sharding_constraint)
WHOLE = _over()


def _first_axis() -> str | None:
    """The axis that is divided over; None where no mesh is set, or in what one device does."""
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or mesh.axis_types[0] is AxisType.Manual:
        return None
    return cast(str, mesh.axis_names[0])


def mesh_is_set() -> bool:
    return _first_axis() is not None


def placed(tree: Tree, runs: int | None = None) -> Tree:
    """The arrays on the mesh: as the caller has placed them there, else whole on every device.

    runs: where it is not None, every leaf [runs, ...] is divided among the devices instead.
    """
    mesh = jax.sharding.get_mesh()
    if mesh.empty:
        return tree
    spec = WHOLE if runs is None else _over(mesh.axis_names[0])

    def place(leaf: Any) -> Any:
        where = getattr(leaf, "sharding", None)
        if runs is None and isinstance(where, NamedSharding) and where.mesh == mesh:
            return leaf
        return jax.device_put(leaf, NamedSharding(mesh, spec))

    return cast(Tree, jax.tree.map(place, tree))


def on_all(tree: Tree) -> Tree:
    """The arrays, whole, on every device of the mesh; where none is set, on the default device."""
    mesh = jax.sharding.get_mesh()
    return cast(Tree, jax.device_put(tree, None if mesh.empty else NamedSharding(mesh, WHOLE)))


def divided(rows: jax.Array) -> jax.Array:
    """rows [n, ...], of which each device takes its share, also where n is no multiple of them."""
    axis = _first_axis()
    if axis is None:
        return rows
    return cast(jax.Array, _constrained(rows, _over(axis)))


def divided_runs(segment: Function) -> Function:
    """segment(state, sets, keys, first, stop), whose state and keys are [runs, ...].

    Every device takes its share of the runs; what they measured is, whole, on all of them.
    """

    def on_mesh(*args: Any) -> Any:
        axis = _first_axis()
        if axis is None:
            return segment(*args)
        share = _over(axis)
        state, measured = jax.shard_map(
            segment,
            in_specs=(share, WHOLE, share, WHOLE, WHOLE),
            out_specs=(share, share),
            axis_names={axis},
            check_vma=False,  # a loop that starts from zeros ends with what differs by device
        )(*args)
        return state, _constrained(measured, WHOLE)

    return cast(Function, on_mesh)


def on_auto_axes(f: Function, results: Any) -> Function:
    """f, within which JAX places every array, also where the axes of the mesh are explicit.

    There each product over the rows would have to say where its result goes.
    results: where those of f are, a tree of shardings.
    """
    return f if _first_axis() is None else jax.sharding.auto_axes(f, out_sharding=results)


def places(tree: Any) -> Any:
    """Where each array is."""
    return jax.tree.map(lambda leaf: jax.typeof(leaf).sharding, tree)


def agreed(length: int, stopped: bool, due: bool) -> tuple[int, bool, bool]:
    """The shortest of all processes' lengths, and whether any stops or saves: they go in step."""
    if not _has_several_processes():
        return length, stopped, due
    from jax.experimental import multihost_utils  # what JAX itself offers for this

    wishes = multihost_utils.process_allgather(np.array([length, stopped, due]))
    lengths, stops, dues = np.asarray(wishes).T
    return int(lengths.min()), bool(stops.any()), bool(dues.any())


def on_host(array: Any) -> NDArray[Any]:
    """The whole array; every process of a mesh has to call it, for each may hold a part."""
    if getattr(array, "is_fully_addressable", True) or array.is_fully_replicated:
        return np.asarray(array)
    from jax.experimental import multihost_utils

    return np.asarray(multihost_utils.process_allgather(array, tiled=True))


def _has_several_processes() -> bool:
    mesh = jax.sharding.get_mesh()
    return not mesh.empty and len({d.process_index for d in mesh.devices.flat}) > 1
