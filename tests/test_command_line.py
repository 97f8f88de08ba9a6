"""python -m jaxnet check|audit."""

import json
import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from jaxnet.__main__ import colour_first_line, draw_array, main
from jaxnet.checking import Verdict
from jaxnet.checking.domains import Domain, Kind, drawn
from jaxnet.checking.findings import Never
from jaxnet.checking.reports import Report

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("spec", "dtype", "shape"),
    [
        ("f32[4,7]", "float32", (4, 7)),
        ("bf16[]", "bfloat16", ()),
        ("f16[0, 3]", "float16", (0, 3)),
        ("i32[4]<7", "int32", (4,)),
        ("u8[2]", "uint8", (2,)),
        ("b[5]", "bool", (5,)),
        ("c64[2]*3", "complex64", (2,)),
    ],
)
def test_arrays(spec, dtype, shape):
    made = draw_array(spec, np.random.default_rng(0))
    assert (made.dtype, made.shape) == (jnp.dtype(dtype), shape)


def test_bound_and_scale():
    assert set(np.asarray(draw_array("i32[1000]<7", np.random.default_rng(0)))) == set(range(7))
    assert 90 < np.std(draw_array("f32[10000]*100", np.random.default_rng(0))) < 110


@pytest.mark.parametrize("spec", ["f32[4", "f33[2]", "4,7", "f32[4]<", "f32[4]*x", ""])
def test_what_is_no_array(spec, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["check", "jaxnet:softmax", spec])
    assert stopped.value.code == 2
    assert (
        f"{spec!r} is no array: give a dtype and a shape, as 'f32[4,7]'" in capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("function", "said"),
    [
        ("softmax", "'softmax' is no function: write it as package.module:function"),
        (
            "jaxnet:nothing",
            "'jaxnet:nothing' cannot be had: module 'jaxnet' has no attribute 'nothing'",
        ),
        ("no.such.module:f", "'no.such.module:f' cannot be had: No module named 'no'"),
    ],
)
def test_what_is_no_function(function, said, capsys):
    with pytest.raises(SystemExit):
        main(["audit", function, "f32[3]"])
    assert said in capsys.readouterr().err


def test_what_the_function_does_not_take(capsys):
    with pytest.raises(SystemExit):
        main(["check", "jaxnet:relu", "i32[3]"])
    assert "relu: x must be a floating-point array" in capsys.readouterr().err


WRONG = """
import jax, jax.numpy as jnp
sin = jax.custom_vjp(lambda x: jnp.sin(x))
sin.defvjp(lambda x: (jnp.sin(x), x), lambda x, dy: (-jnp.cos(x) * dy,))
loss = lambda x: sin(x).sum()
"""


@pytest.mark.parametrize("command", ["check", "audit"])
def test_in_a_process_with_a_module_of_the_current_folder(command, tmp_path):
    (tmp_path / "mine.py").write_text(WRONG)
    run = [sys.executable, "-m", "jaxnet", command, "mine:loss", "f32[3]", "--json", "out.json"]
    run += ["--repro", "shown.py"] if command == "check" else []
    done = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    assert "its sign is wrong everywhere" in done.stdout
    assert "\033" not in done.stdout
    content = json.loads((tmp_path / "out.json").read_text())
    assert not content["ok"]
    assert [path.name for path in tmp_path.glob("out*")] == ["out.json"]
    if command == "check":
        assert "from mine import loss as f\n" in (tmp_path / "shown.py").read_text()


def test_exit_status_of_what_is_right(capsys):
    assert main(["check", "jaxnet:softmax", "f32[3,4]", "--seed", "3"]) == 0
    assert capsys.readouterr().out.startswith("ok: would have noticed")


def test_no_script_of_what_is_right(tmp_path, capsys):
    path = tmp_path / "shown.py"
    assert main(["check", "jaxnet:relu", "f32[3]", "--repro", str(path)]) == 0
    assert "shown.py is not written: repro: nothing is wrong with relu" in capsys.readouterr().err
    assert not path.exists()


def test_domain_rtol_and_budget(capsys):
    options = ["--domain", "x=positive", "--rtol", "1e-3", "--budget", "0"]
    assert main(["check", "jax.scipy.special:xlogy", "f32[4]", "f32[4]", *options]) == 0
    assert "ok; not asked: precision float32" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["check", "jaxnet:relu", "f32[4]", "--rtol", "2"])
    assert "rtol must be a number of at least 0 and below 1" in capsys.readouterr().err
    for where in ("", "=positive"):
        with pytest.raises(SystemExit):
            main(["check", "jaxnet:relu", "f32[4]", "--domain", where])
        assert f"{where!r} is no domain" in capsys.readouterr().err


@pytest.mark.parametrize("where", [*Kind, (0, 2)])
def test_numbers_are_drawn_where_they_are_said_to_lie(where):
    x = drawn(where, np.random.default_rng(0).normal(size=(3, 5)))
    assert x.shape == (3, 5)
    domain = Domain(Kind.UNIT, *where) if isinstance(where, tuple) else Domain(where)
    assert domain.holds(x)


def test_colour_on_a_terminal_only(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: False)
    assert colour_first_line("a\nb", Verdict.OK) == "a\nb"
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert colour_first_line("a\nb", Verdict.OK) == "\033[32ma\033[0m\nb"
    monkeypatch.setenv("NO_COLOR", "1")
    assert colour_first_line("a\nb", Verdict.OK) == "a\nb"


def test_a_seed_below_zero_is_an_error_in_words(capsys):
    with pytest.raises(SystemExit):
        main(["check", "jaxnet:softmax", "f32[3]", "--seed", "-1"])
    assert "'-1' is no seed: give an integer of at least 0" in capsys.readouterr().err


def test_a_report_that_cannot_be_written(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["check", "jaxnet:softmax", "f32[3]", "--json", str(tmp_path / "none" / "a.json")])
    assert "--json" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("error", [TypeError, ValueError])
def test_what_a_module_raises_comes_through(error, tmp_path, monkeypatch):
    (tmp_path / f"raises_{error.__name__}.py").write_text(f"raise {error.__name__}('mine')")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match="mine"):
        main(["check", f"raises_{error.__name__}:f", "f32[3]"])


def test_what_was_never_entered_has_names_in_json():
    never = Never("condition true", "where(x)", "file.py:3")
    report = Report("f", "x f32[3]", "auto(f)", (), never_entered=(never,))
    assert json.loads(report.json())["never_entered"] == [
        {"side": "condition true", "line": "where(x)", "place": "file.py:3"}
    ]
