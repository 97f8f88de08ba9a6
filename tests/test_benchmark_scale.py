"""What `benchmark.py scale` measures, on its smallest points; no time is asserted."""

import importlib.util
import json

import benchmark
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from benchmarks import scale

import jaxnet

POINT = scale.Point((5, 7, 6, 3), rows=8)


SMALL = ("--repeats", "2", "--seconds", "0.001")
AXES = {
    "rows": {8: POINT, 16: POINT._replace(rows=16)},
    "seeds": {1: POINT, 2: POINT._replace(seeds=2)},
    "devices": {n: scale.AXES["devices"][n] for n in (1, 2)},  # another process measures there
}


@pytest.fixture
def small(monkeypatch):
    """A command of some seconds: few points, short runs."""
    monkeypatch.setenv("JAX_ENABLE_COMPILATION_CACHE", "false")  # as the command does, for good
    monkeypatch.setattr(scale, "AXES", AXES)
    monkeypatch.setattr(scale, "LARGE", POINT)
    monkeypatch.setattr(scale.Point, "batches", lambda point: 4)


@pytest.mark.many
def test_every_axis_is_timed_written_and_drawn(tmp_path, capsys, small):
    data, plot = tmp_path / "scale.json", tmp_path / "scale.png"
    benchmark.main(["scale", *SMALL, "--json", str(data), "--plot", str(plot)])

    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 100
    assert "From 8 to 16 rows the time of jaxnet grows as rows to the power of" in printed
    assert "5 → 7 → 6 → 3, 8 rows: " in printed
    assert "64 networks 10 → 100 → 2 at once: " in printed
    assert plot.read_bytes().startswith(b"\x89PNG")

    found = json.loads(data.read_text(encoding="utf-8"))
    values = {axis: list(times) for axis, times in found["seconds"].items()}
    assert values == {"rows": ["8", "16"], "seeds": ["1", "2"], "devices": ["1", "2"]}
    pytorch = bool(importlib.util.find_spec("torch"))
    assert ("PyTorch, 1 thread" in found["large"]) == pytorch
    assert ("Left out, as not installed: PyTorch." in printed) != pytorch
    points = [found["large"], *(p for times in found["seconds"].values() for p in times.values())]
    for seconds in points:
        assert list(seconds)[:2] == ["jaxnet", "products"]
        assert all(len(taken) == 2 and min(taken) > 0 for taken in seconds.values())


def test_on_an_axis_work_grows_and_all_meet_in_the_report():
    for axis in ("rows", "width", "depth", "seeds"):
        points = scale.AXES[axis].values()
        work = [point.multiplications() for point in points]
        assert work == sorted(set(work))
        assert scale.Point((10, 100, 100, 2), rows=64) in points


@pytest.mark.many
@pytest.mark.parametrize("seeds", [1, 3])
def test_updates_are_those_of_fit_with_the_network_itself(seeds):
    """Only what is measured after an epoch may be missing from what is timed."""
    point = POINT._replace(seeds=seeds)
    trainer = scale.train_jaxnet(point)
    trainer.seconds(2)
    ends, _ = jaxnet.fit(
        jaxnet.mlp,
        scale.starts_of(point),
        train=scale.data_of(point),
        epochs=2,
        batch_size=point.rows,
        optimizer=optax.sgd(0.01),
        runs=None if seeds == 1 else seeds,
    )
    expected = scale.flat(scale.first_network(point, ends))
    np.testing.assert_allclose(scale.flat(trainer.end()), expected, rtol=1e-6, atol=1e-7)


def test_products_are_those_of_an_update():
    assert scale.shapes_of(POINT)[0] == ((8, 5), (8, 7), (7, 5))  # x, dy and weight
    start = [tuple(jnp.eye(*shape) for shape in layer) for layer in scale.shapes_of(POINT)]
    program = jax.jit(scale.products).lower(start, 2).compile()
    loop, entry = program.as_text().split("ENTRY")
    assert loop.count(" dot(") == 3 * 3 - 1  # none but the first layer's dx is missing
    assert "dot" not in entry  # none is done once for all

    ends = program(start, 5)
    assert jax.tree.map(jnp.shape, ends) == jax.tree.map(jnp.shape, start)
    for array in jax.tree.leaves(ends):  # nothing has grown or vanished
        assert jnp.trace(array) == jnp.sum(array) > 0


def test_multiplications_of_an_update():
    first, second, third = (a * b for a, b in [(5, 7), (7, 6), (6, 3)])
    assert POINT.multiplications() == 8 * (2 * first + 3 * second + 3 * third)
    assert POINT._replace(seeds=4).multiplications() == 4 * POINT.multiplications()


def test_other_updates_are_an_error():
    ours = scale.train_jaxnet(POINT)
    ours.seconds(1)
    start = scale.first_network(POINT, scale.starts_of(POINT))
    moved = scale.Trainer(ours.seconds, ours.end)
    idle = scale.Trainer(ours.seconds, lambda: start)
    scale.require_same_updates(POINT, {"jaxnet": ours, "someone": moved})
    with pytest.raises(SystemExit, match="someone did not do the same updates"):
        scale.require_same_updates(POINT, {"jaxnet": ours, "someone": idle})


def test_powers_are_those_of_the_large_half():
    points = {n: scale.Point((4, 4), rows=n) for n in (1, 2, 4, 8)}
    found = {n: {"jaxnet": [1e-6 * max(2.0, n) ** 1.5]} for n in points}
    powers = scale.slopes(found, points)
    assert powers == pytest.approx({"jaxnet": 1.5, "multiplications": 1.0})
    assert scale.slopes_in_words("rows", found, powers) == (
        "From 4 to 8 rows the time of jaxnet grows as rows to the power of 1.50 "
        "(multiplications 1.00)."
    )
