"""What help() says: every public name has an example, which runs, and its arguments in one form.

The form: a sentence; what else there is to know; a line for each argument (`x: [..., in], floating.
What it is`, alike arguments together); Returns, Raises, Source; the example. Where a line goes on,
it is indented.
"""

import doctest
import inspect
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxnet
from jaxnet import plotting

ROOT = Path(__file__).parents[1]
NAMES = {"jax": jax, "jnp": jnp, "np": np, "jaxnet": jaxnet}  # as jaxnet's own docstring says
ARGUMENTS = re.compile(r"^(\*{0,2}\w+(?:, \*{0,2}\w+)*): (.*)", re.MULTILINE)
PARTS = ("Returns ", "Raises ", "Source: ", ">>> ")
SHAPE = re.compile(r"\[[\w., ]*\]")


def public():
    """What a user meets, by name; what two modules or classes share comes once."""
    found = {}
    for module in (jaxnet, jaxnet.rules, jaxnet.datasets, jaxnet.metrics, plotting):
        for name, member in shown_by(module):
            found.setdefault(member, f"{module.__name__}.{name}")
    for owner, name in list(found.items()):
        if inspect.isclass(owner):
            for key, method in methods(owner):
                found.setdefault(method, f"{name}.{key}")
    return {name: member for member, name in found.items()}


def shown_by(module):
    is_room = module in (jaxnet, jaxnet.rules, jaxnet.datasets)  # these show what is made elsewhere
    for name, member in inspect.getmembers(module):
        home = getattr(member, "__module__", None) or ""
        is_shown = home.startswith("jaxnet") and (is_room or home == module.__name__)
        if is_shown and callable(member) and not name.startswith("_"):
            yield name, member


def methods(owner):
    """And properties."""
    for name, member in inspect.getmembers_static(owner):
        function = member.fget if isinstance(member, property) else member
        is_ours = inspect.isfunction(function) and function.__module__.startswith("jaxnet")
        if is_ours and not name.startswith("_"):
            yield name, member


PUBLIC = public()


def test_what_is_public_is_found():
    expected = {
        "jaxnet.relu", "jaxnet.rules.gelu", "jaxnet.datasets.load", "jaxnet.plotting.png",
        "jaxnet.rule", "jaxnet.rule.but", "jaxnet.rule.halves", "jaxnet.Layer",
        "jaxnet.Report.faults", "jaxnet.Audit.faults", "jaxnet.Audit.require",
        "jaxnet.Finding.what",
    }  # fmt: skip
    assert expected <= set(PUBLIC)
    assert not {"jaxnet.rules.relu", "jaxnet.plotting.History", "jaxnet.Layer.count"} & set(PUBLIC)


@pytest.mark.many
@pytest.mark.parametrize("name", PUBLIC)
def test_the_example_runs(name, monkeypatch):
    monkeypatch.chdir(ROOT)  # for data/
    docstring = inspect.getdoc(PUBLIC[name])
    example = doctest.DocTestParser().get_doctest(docstring, dict(NAMES), name, None, 0)
    assert example.examples, f"{name} has no example"
    said = []
    doctest.DocTestRunner(verbose=False, optionflags=doctest.ELLIPSIS).run(example, out=said.append)
    assert not said, "".join(said)


@pytest.mark.parametrize("name", PUBLIC)
def test_every_argument_is_told(name):
    member = PUBLIC[name]
    told = {}
    for names, text in ARGUMENTS.findall(inspect.getdoc(member)):
        told |= dict.fromkeys(re.findall(r"\w+", names), text)
    parameters = parameters_of(member)
    assert [n for n in told if n in parameters] == list(parameters), "not all, or in another order"
    for parameter, annotation in parameters.items():
        if is_array(parameter, annotation):
            assert SHAPE.match(told[parameter]), f"{parameter}: its shape comes first"


def parameters_of(member):
    """Each with its annotation."""
    if isinstance(member, property):
        return {}
    parameters = inspect.signature(member).parameters.values()
    shown = (p for p in parameters if p.name != "self" and not p.name.startswith("_"))
    return {p.name: str(p.annotation) for p in shown}


def is_array(parameter, annotation):
    is_one = re.match(r"(<class ')?(jax\.)?(ND)?Array", annotation)
    return bool(is_one) and not parameter.endswith("key")


@pytest.mark.parametrize("name", PUBLIC)
def test_the_parts_stand_in_order(name):
    member = PUBLIC[name]
    first, *rest = inspect.getdoc(member).splitlines()
    assert first.endswith("."), "the first line is no sentence"
    assert rest[0] == ""
    met = [part for line in rest for part in PARTS if line.startswith(part)]
    parts = list(dict.fromkeys(met))
    assert parts == [part for part in PARTS if part in met]
    if returns_something(member):
        assert "Returns " in parts
    if isinstance(member, jaxnet.rule):
        assert "Source: " in parts


def returns_something(member):
    is_function = callable(member) and not inspect.isclass(member)
    return is_function and inspect.signature(member).return_annotation is not None
