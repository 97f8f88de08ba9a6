import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import report
from common.job import TWIN
from reporting import claims, equations, figures, formulas, gradients, page, runs, sources

import jaxnet
from jaxnet.datasets import Dataset

ROOT = Path(__file__).parents[1]
SCRIPTS = ROOT / "scripts"

PNGS = {
    *(
        "network_1.png",
        "network_2.png",
        "loss_AC.png",
        "accuracy_BD.png",
        "loss_EG.png",
        "accuracy_FH.png",
    ),
    *("hand_and_auto.png", "initialisations.png", "gradient_norms.png", "wrong_gradients.png"),
}


def run(*arguments, **more):
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error"}
    command = [sys.executable, SCRIPTS / "report.py", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, **more)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The report as a user makes it, from elsewhere, with two seeds: its folder and its output."""
    there = tmp_path_factory.mktemp("elsewhere")
    result = run("--seeds", 2, cwd=there)
    assert result.returncode == 0, result.stderr
    return there / "out" / "report", result


@pytest.fixture(scope="module")
def metrics(made):
    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    return json.loads((made[0] / "metrics.json").read_text(), parse_constant=refuse)


# ---- the page and its files ----


def test_it_writes_the_page_the_figures_and_the_metrics_and_says_where(made):
    folder, result = made
    assert {path.name for path in folder.iterdir()} == PNGS | {"index.html", "metrics.json"}
    *stages, path, finding = result.stdout.splitlines()
    assert path == "out/report/index.html"
    assert all(re.match(r" *\d+\.\d s  \S", stage) for stage in stages)
    assert finding == json.loads((folder / "metrics.json").read_text())["finding"]
    assert result.stderr == ""


def test_the_page_needs_nothing_from_outside(made):
    images, others = [], []

    class Links(HTMLParser):
        def handle_starttag(self, tag, attributes):
            for name, value in attributes:
                if tag == "img" and name == "src":
                    images.append(value)
                elif name in ("src", "href", "data", "action", "poster", "srcset"):
                    others.append(value)

    text = (made[0] / "index.html").read_text()
    Links().feed(text)
    assert len(images) == len(PNGS)
    assert all(source.startswith("data:image/png;base64,") for source in images)
    assert others == []
    assert not re.search(r"https?://|url\(|@import|<script|<link", text)


def test_sections_come_in_order(made):
    text = (made[0] / "index.html").read_text()
    assert [int(n) for n in re.findall(r"<h2>(\d)\.", text)] == list(range(1, 10))


def test_the_page_is_well_formed(made):
    still_open = []

    class Nesting(HTMLParser):
        def handle_starttag(self, tag, attributes):
            if tag not in ("meta", "img", "br"):
                still_open.append(tag)

        def handle_endtag(self, tag):
            assert still_open.pop() == tag

    Nesting().feed((made[0] / "index.html").read_text())
    assert still_open == []


def test_the_readme_picture_has_its_size(made):
    content = (made[0] / "wrong_gradients.png").read_bytes()
    assert (int.from_bytes(content[16:20]), int.from_bytes(content[20:24])) == (1200, 700)


def test_errata_point_at_code_that_is_there():
    for erratum in equations.ERRATA:
        file, _, name = erratum.code.partition(": ")
        code = (ROOT / "jaxnet" / file).read_text()
        assert re.search(rf"^def {name}\(", code, re.MULTILINE), erratum


@pytest.mark.parametrize(
    ("tex", "html"),
    [
        ("h_j", "<msub><mi>h</mi><mi>j</mi></msub>"),
        (
            r"W_{ij}^{(2)}",
            "<msubsup><mi>W</mi><mrow><mi>i</mi><mi>j</mi></mrow><mrow>"
            '<mo stretchy="false">(</mo><mn>2</mn><mo stretchy="false">)</mo></mrow></msubsup>',
        ),
        (r"\frac{a}{12}", "<mfrac><mrow><mi>a</mi></mrow><mrow><mn>12</mn></mrow></mfrac>"),
        (r"\sum_k", "<munder><mo>∑</mo><mi>k</mi></munder>"),
        (r"a \lt b", "<mi>a</mi><mo>&lt;</mo><mi>b</mi>"),
        (r"\mathrm{ReLU}", "<mi>ReLU</mi>"),
    ],
)
def test_formulas_become_mathml(tex, html):
    assert formulas.mathml(tex) == f"<math>{html}</math>"


@pytest.mark.parametrize("tex", [r"a \cup b", "p*q", r"\Sigma"])
def test_tex_that_is_not_known_is_said(tex):
    with pytest.raises(ValueError, match="part of TeX"):
        formulas.mathml(tex)


def test_the_equations_are_those_of_the_derivation():
    page = (ROOT / "docs" / "course" / "derivation.md").read_text(encoding="utf-8")
    derived = " ".join(page.split())
    for tex, _ in (*equations.FORWARD, *equations.BACKWARD, *equations.DEEPER):
        for formula in tex.split(r"\qquad"):
            assert formula.strip() in derived


# ---- what was measured ----


def test_claims_have_their_fields_and_no_verdict_on_other_data(metrics):
    ids = [c["id"] for c in metrics["claims"]]
    assert ids == [c.id for c in claims.CLAIMS]
    assert len(set(ids)) == len(ids)
    for c in metrics["claims"]:
        assert {
            "id",
            "section",
            "quote",
            "definition",
            "data",
            "n_seeds",
            "median",
            "min",
            "max",
            "verdict",
        } <= c.keys()
        assert c["verdict"] == "not testable (other data)"
        assert "twin" in c["data"]
        assert c["n_seeds"] == {"scratch": 2, "PyTorch 2.13.0+cpu, recorded": 2}
        for value in (c["median"], c["min"], c["max"]):
            assert value == "never" or isinstance(value, float)
    assert not metrics["data"]["reports_own"]


def test_hand_and_auto_agree(metrics):
    for by_start in metrics["hand_against_auto"].values():
        for compared in by_start.values():
            assert compared["largest_loss_difference"] < 1e-4
            assert compared["accuracies"] == 2 * 2 * 200
            assert compared["accuracies_different"] <= 4
    for by_start in metrics["gradient_errors_in_eps"].values():
        for parameter in by_start["PyTorch"]["start"].values():
            assert parameter["hand"] < 100
            assert parameter["auto"] < 100
            assert parameter["apart"] < 1e-5


def test_every_planted_fault_is_wrong_and_some_look_right(metrics):
    right, *faults = metrics["faults"]
    assert len(faults) >= 10
    assert right["error"] < 1e-5
    assert right["looks_right"]
    assert all(fault["error"] > 1e4 * right["error"] for fault in faults)
    assert all(fault["error"] > 0.1 for fault in faults)
    alike = sum(fault["looks_right"] for fault in faults)
    assert alike >= 1  # how many depends on the draw, with two seeds more than with many
    assert f"{alike} of {len(faults)} wrong backward rules" in metrics["finding"]


def test_pytorch_itself_starts_as_slowly_from_the_courses_initialisation(metrics):
    for by_gradient in metrics["medians"].values():
        hand, torch = by_gradient["hand"]["course"], by_gradient["pytorch"]["course"]
        assert torch["train_loss_mean_1_to_100"] == pytest.approx(
            hand["train_loss_mean_1_to_100"], abs=0.02
        )
        assert (
            torch["train_loss_mean_1_to_100"]
            > by_gradient["pytorch"]["PyTorch"]["train_loss_mean_1_to_100"] + 0.2
        )


def test_faults_are_right_forward_and_wrong_backward():
    data = jaxnet.datasets.load(TWIN)
    params = runs.draw(data, 1, 1)["PyTorch"]
    network = [layer._replace(weight=layer.weight[0], bias=layer.bias[0]) for layer in params]
    x, y = data.train
    true = gradients.by_parameter(gradients.exact_gradients(data, params))
    for fault in runs.FAULTS[::3]:
        np.testing.assert_array_equal(fault.model(network, x), jaxnet.mlp(network, x))
        logits = jaxnet.mlp(network, x)
        np.testing.assert_array_equal(
            fault.loss(logits, y), jaxnet.softmax_cross_entropy(logits, y)
        )
        grads = gradients.by_parameter(
            gradients.gradients(params, x, y, model=fault.model, loss=fault.loss)
        )
        off = max(np.linalg.norm(grads[name] - t) / np.linalg.norm(t) for name, t in true.items())
        assert off > 0.1, fault.words


def test_other_data_than_the_recorded_get_no_pytorch(tmp_path):
    copy = shutil.copytree(TWIN, tmp_path / "course2023")  # a name proves nothing
    lines = (copy / "XTest.txt").read_text().splitlines(keepends=True)
    (copy / "XTest.txt").write_text("".join(lines[::-1]))
    source = sources.read(copy)
    assert source.name == "other data than the report's, folder course2023"
    assert sources.recorded_pytorch(source.digests, 2) is None
    assert sources.name_data(sources.REPORTS_OWN, copy) == "the report's own data"
    label, by_depth = sources.recorded_pytorch(sources.recorded_digests(), 2)
    assert label == "PyTorch 2.13.0+cpu, recorded"
    assert by_depth[2]["course"].keys() == curves().keys()
    assert by_depth[2]["course"]["test_loss"].shape == (2, 200)


def test_live_pytorch_is_labelled_as_such(monkeypatch):
    torch = pytest.importorskip("torch")
    from common import pytorch

    monkeypatch.setattr(
        pytorch, "torch_history", lambda *a: {"train_loss": np.array([len(a[0]), a[2]])}
    )
    label, by_depth = sources.live_pytorch(None, 3)
    assert label == f"PyTorch {torch.__version__}"
    np.testing.assert_array_equal(by_depth[2]["course"]["train_loss"], [[2, 0], [2, 1], [2, 2]])


def test_the_page_says_what_is_so_and_leaves_out_what_is_not():
    text = "a\n<!-- if pytorch -->\nb\n<!-- end -->\n<!-- if not pytorch -->\nc\n<!-- end -->\nd\n"
    assert page.choose(text, {"pytorch": True}) == "a\nb\nd\n"
    assert page.choose(text, {"pytorch": False}) == "a\nc\nd\n"


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("itself", [False, True])
def test_the_page_tells_whose_the_data_and_the_other_side_are(metrics, own, itself):
    without = {
        hidden: {name: by for name, by in medians.items() if name != "pytorch" or itself}
        for hidden, medians in metrics["medians"].items()
    }
    results = metrics | {
        "data": metrics["data"] | {"reports_own": own},
        "pytorch_side": metrics["pytorch_side"] | {"itself": itself},
        "medians": without,
    }
    results |= {  # JSON made text of the numbers of hidden layers
        name: {int(hidden): found for hidden, found in results[name].items()}
        for name, by_depth in results.items()
        if isinstance(by_depth, dict) and set(by_depth) == {"1", "2"}
    }
    text = page.page(results, {Path(name).stem: b"" for name in PNGS})
    assert ("nothing is judged" in text) is not own
    assert text.count("PyTorch itself was not run") == (0 if itself else 5)
    assert "<!--" not in text
    assert "$" not in text


# ---- what can go wrong ----


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--seeds", "0"), "--seeds is 0; expected at least 1"),
        (("--data", "nowhere"), "nowhere: no such folder; expected one with XTrain.txt"),
        (("--data", "empty"), "empty: no 'XTrain.txt', 'yTrain.txt', 'XTest.txt', 'yTest.txt'"),
        (("--out", "file"), "--out is file, where there is a file; expected a folder"),
        (
            ("--out", "file/deeper"),
            "--out is file/deeper, where there is a file; expected a folder",
        ),
    ],
)
def test_bad_input_is_named_and_nothing_is_written(
    tmp_path, monkeypatch, capsys, arguments, message
):
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    Path("file").touch()
    with pytest.raises(SystemExit) as stopped:
        report.main(list(arguments))
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err
    assert not Path("out").exists()


def test_a_missing_torch_is_named(monkeypatch, capsys):
    monkeypatch.setattr(report.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SystemExit):
        report.main(["--torch"])
    assert (
        "--torch needs PyTorch, which is not installed: pip install torch"
        in capsys.readouterr().err
    )


def test_data_on_which_the_settings_diverge_are_reported(tmp_path, monkeypatch):
    data = shutil.copytree(TWIN, tmp_path / "large")
    for name in ("XTrain.txt", "XTest.txt"):
        np.savetxt(data / name, 1e6 * np.loadtxt(data / name))
    monkeypatch.setattr(runs, "EPOCHS", 10)
    handler = signal.getsignal(signal.SIGINT)
    precision = jax.config.jax_default_matmul_precision
    try:
        with pytest.raises(SystemExit, match=r"training diverges on these data.*loss became"):
            report.main(["--data", str(data), "--out", str(tmp_path / "out"), "--seeds", "1"])
        # `fit` would take Python's own over, for a run alone.
        assert signal.getsignal(signal.SIGINT) is report.interrupt
        with ThreadPoolExecutor() as pool:  # the wrong rules are trained in threads
            product = pool.submit(jax.make_jaxpr(jnp.dot), jnp.ones((2, 2)), jnp.ones((2, 2)))
        assert "Precision.HIGHEST" in str(product.result())  # a GPU would round to ten bits
    finally:
        signal.signal(signal.SIGINT, handler)
        jax.config.update("jax_default_matmul_precision", precision)
    assert not (tmp_path / "out").exists()


def test_ctrl_c_ends_it_and_leaves_nothing(tmp_path):
    command = [sys.executable, SCRIPTS / "report.py", "--seeds", "1", "--out", tmp_path / "out"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )
    process.stdout.readline()  # the data are read, training begins
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors.strip() == "report.py: interrupted; nothing was written"
    assert not (tmp_path / "out").exists()


# ---- the logic of the claims, on histories made up ----


def flags(*rows):
    return np.array([[c == "x" for c in row] for row in rows])


def test_first_for_good_is_the_first_epoch_from_which_it_stays():
    found = claims.first_for_good(flags("xxxx", "...x", "x.xx", "xxx.", "....", "..xx"))
    np.testing.assert_array_equal(found, [1, 4, 3, np.inf, np.inf, 3])


def test_first_is_the_first_epoch_whatever_follows():
    np.testing.assert_array_equal(
        claims.first(flags("xxxx", "...x", ".x..", "....")), [1, 4, 2, np.inf]
    )


def test_never_counts_as_infinity_in_a_median():
    never = claims.Measure("epoch", "side", np.array([3, np.inf, np.inf])).summary()
    assert (never["median"], never["min"], never["max"]) == ("never", 3.0, "never")
    assert claims.Measure("epoch", "side", np.array([3, 5, np.inf])).summary()["median"] == 5.0
    assert claims.Measure("epoch", "side", np.array([3, np.inf])).summary()["median"] == "never"


def a_set(rows):
    return np.zeros((rows, 10), np.float32), np.arange(rows, dtype=np.int32) % 2


DATA = Dataset(a_set(500), a_set(200), tuple(f"x{i}" for i in range(10)), ("0", "1"))


def curves(seeds=2, **given):
    """Histories of 200 epochs; what is not given is a loss of 0.1 and an accuracy of 1.

    given: values to broadcast, [epochs] or [seeds, epochs].
    """
    values = {
        "train_loss": 0.1,
        "test_loss": 0.1,
        "train_accuracy": 1.0,
        "test_accuracy": 1.0,
    } | given
    return {
        name: np.broadcast_to(np.asarray(v, np.float32), (seeds, 200)).copy()
        for name, v in values.items()
    }


def step(epoch, before, after):
    """before until `epoch`, after from it on."""
    return np.where(np.arange(1, 201) < epoch, before, after)


def verdict(identity, scratch, pytorch, reports_own=True):
    hidden = {1: scratch, 2: scratch}, {1: pytorch, 2: pytorch}
    evidence = claims.Evidence(DATA, *hidden, "PyTorch", 1e-7)
    found = {c["id"]: c for c in claims.judge(evidence, "made up", reports_own)}
    return found[identity]["verdict"], found[identity]["measures"]


HOLDS, IN_PART, NOT = "holds", "in part", "does not hold"


def test_accuracy_thresholds_are_met_exactly_in_float32():
    e = claims.Evidence(DATA, {}, {}, "PyTorch", 0.0)
    # As a mean may come out.
    just_below = [np.nextafter(np.float32(a), np.float32(0)) for a in (188 / 200, 450 / 500)]
    at = curves(seeds=1, test_accuracy=just_below[0], train_accuracy=just_below[1])
    assert claims.at_least(e, at, "test", 94).all()
    assert not claims.above(e, at, "test", 94).any()
    assert not claims.above(e, at, "train", 90).any()
    one_more = curves(seeds=1, test_accuracy=189 / 200, train_accuracy=451 / 500)
    assert claims.above(e, one_more, "test", 94).all()
    assert claims.above(e, one_more, "train", 90).all()


@pytest.mark.parametrize(
    ("scratch", "pytorch", "expected"),
    [
        (0.2, 0.1, HOLDS),
        (0.1, 0.1, NOT),
        (0.1, 0.2, NOT),
        ([[0.2], [0.05]], 0.1, IN_PART),
        ([[0.2], [0.1]], 0.1, IN_PART),
    ],
)
def test_slower_means_higher_in_every_pair(scratch, pytorch, expected):
    found, _ = verdict("3.3-slower", curves(train_loss=scratch), curves(train_loss=pytorch))
    assert found == expected
    assert (
        verdict("4-slower", curves(train_loss=scratch), curves(train_loss=pytorch))[0] == expected
    )


def test_slower_looks_at_the_first_hundred_epochs_only():
    late = curves(train_loss=step(101, 0.1, 9.0))
    assert verdict("3.3-slower", late, curves(train_loss=0.1))[0] == NOT
    early = curves(train_loss=step(100, 0.1, 9.0))
    assert verdict("3.3-slower", early, curves(train_loss=0.1))[0] == HOLDS


def test_above_90_needs_both_sets_for_good_by_epoch_50():
    good, late = (
        curves(test_accuracy=step(50, 0.5, 0.95)),
        curves(test_accuracy=step(51, 0.5, 0.95)),
    )
    found, measures = verdict("3.3-above-90", good, good)
    assert found == HOLDS
    assert [m["median"] for m in measures] == [50.0, 50.0]
    assert verdict("3.3-above-90", late, good)[0] == NOT
    assert verdict("3.3-above-90", good, late)[0] == NOT
    # Exactly 90 % is not above.
    assert verdict("3.3-above-90", good, curves(train_accuracy=0.9))[0] == NOT
    half = curves(test_accuracy=np.stack([step(50, 0.5, 0.95), step(51, 0.5, 0.95)]))
    assert verdict("3.3-above-90", half, good)[0] == IN_PART
    dip = step(10, 0.5, 0.95)
    dip[-1] = 0.85
    found, measures = verdict("3.3-above-90", good, curves(test_accuracy=dip))
    assert found == NOT
    assert measures[1]["median"] == "never"


def test_above_94_means_above():
    assert (
        verdict("3.3-above-94", curves(test_accuracy=0.945), curves(test_accuracy=0.945))[0]
        == HOLDS
    )
    found, measures = verdict(
        "3.3-above-94", curves(test_accuracy=0.94), curves(test_accuracy=0.945)
    )
    assert found == NOT
    assert [m["median"] for m in measures if m["source"] == "scratch"] == [94.0, 0.0, 2.0]
    half = curves(test_accuracy=[[0.94], [0.945]])
    assert verdict("3.3-above-94", half, curves(test_accuracy=0.945))[0] == IN_PART
    fallen = curves(test_accuracy=step(200, 0.96, 0.93))  # the last epoch counts
    assert verdict("3.3-above-94", fallen, curves(test_accuracy=0.945))[0] == NOT


@pytest.mark.parametrize(
    ("scratch", "pytorch", "expected"),
    [
        ({}, {}, HOLDS),
        ({"train_loss": 0.13}, {}, IN_PART),  # the loss alone is off
        ({"test_accuracy": 0.99}, {}, HOLDS),  # a point is allowed
        ({"test_accuracy": 0.985}, {}, IN_PART),
        ({"test_accuracy": 0.985, "test_loss": 0.2}, {}, NOT),
        ({"train_loss": step(175, 9.0, 0.1)}, {}, HOLDS),  # what came before 175 is no matter
        ({"train_loss": step(176, 9.0, 0.1)}, {}, IN_PART),
        ({"train_loss": 0.105}, {}, IN_PART),  # within 10 %, but the ranges at the end are apart
        ({"train_loss": [[0.1], [0.11]]}, {}, HOLDS),
    ],
)
def test_similar_asks_for_accuracy_and_loss(scratch, pytorch, expected):
    assert verdict("3.3-similar", curves(**scratch), curves(**pytorch))[0] == expected
    assert verdict("3.3-similar", curves(**pytorch), curves(**scratch))[0] == expected


def test_overfit_strictly_means_that_the_test_loss_rises_again():
    risen, flat = curves(test_loss=step(150, 0.1, 0.102)), curves()
    assert verdict("3.3-overfit", risen, risen)[0] == HOLDS
    assert verdict("3.3-overfit", risen, flat)[0] == NOT
    slight = curves(test_loss=step(150, 0.1, 0.1009))
    assert verdict("3.3-overfit", slight, slight)[0] == NOT


def test_overfit_epochs_holds_near_both_and_in_part_in_order():
    def opens(epoch):
        return curves(test_loss=step(epoch, 0.1, 0.12))

    assert verdict("3.3-overfit-epochs", opens(150), opens(50))[0] == HOLDS
    assert verdict("3.3-overfit-epochs", opens(151), opens(50))[0] == IN_PART
    assert verdict("3.3-overfit-epochs", opens(50), opens(60))[0] == NOT
    found, measures = verdict("3.3-overfit-epochs", curves(), curves())
    assert found == NOT
    assert {m["median"] for m in measures} == {"never"}
    narrow = curves(test_loss=step(140, 0.1, 0.107))  # more than 5 %, not more than 10 %
    found, measures = verdict("3.3-overfit-epochs", narrow, opens(60))
    assert found == IN_PART
    assert [m["median"] for m in measures] == ["never", 60.0, 140.0, 60.0]


def test_pytorch_within_20_is_about_pytorch_alone():
    fast, slow = (
        curves(train_accuracy=step(20, 0.5, 0.95)),
        curves(train_accuracy=step(21, 0.5, 0.95)),
    )
    assert verdict("4-pytorch-90", slow, fast)[0] == HOLDS
    assert verdict("4-pytorch-90", fast, slow)[0] == NOT


@pytest.mark.parametrize(
    ("identity", "by", "scratch"), [("4-pytorch-94", 50, False), ("4-scratch-94", 150, True)]
)
def test_reaching_94_once_is_enough_and_exactly_94_counts(identity, by, scratch):
    def judged(*runs):
        side, other = curves(len(runs), test_accuracy=np.stack(runs)), curves(test_accuracy=0.5)
        return verdict(identity, *((side, other) if scratch else (other, side)))

    in_time, late, never = (step(epoch, 0.5, 0.94) for epoch in (by, by + 1, 201))
    once = in_time.copy()
    once[by:] = 0.9
    assert judged(in_time, once)[0] == HOLDS
    assert judged(in_time, late)[0] == IN_PART
    assert judged(late, never)[0] == IN_PART
    found, measures = judged(late, never, never)
    assert found == NOT
    assert measures[0]["median"] == "never"
    found, measures = judged(step(160, 0.5, 0.935))
    assert found == NOT
    assert [m["median"] for m in measures[:2]] == ["never", 160.0]


def test_converging_late_has_two_halves():
    falling = np.geomspace(1, 0.05, 200)
    late = step(101, 0.5, 0.94)
    assert verdict("4-scratch-late", curves(test_accuracy=late), curves())[0] == HOLDS
    assert (
        verdict("4-scratch-late", curves(test_accuracy=late, train_loss=falling), curves())[0]
        == IN_PART
    )
    assert (
        verdict("4-scratch-late", curves(test_accuracy=step(100, 0.5, 0.94)), curves())[0]
        == IN_PART
    )
    assert verdict("4-scratch-late", curves(train_loss=falling), curves())[0] == NOT
    near = step(101, 0.93, 0.94)  # a point away counts as there
    assert verdict("4-scratch-late", curves(test_accuracy=near), curves())[1][0]["median"] == 1.0


def test_the_data_claim_and_the_claim_that_curves_validate():
    assert verdict("2-data", curves(), curves())[0] == HOLDS
    assert verdict("1-validated", curves(), curves())[0] == "not testable"
    unbalanced = DATA.train[0], np.r_[DATA.train[1][:-1], 0].astype(np.int32)
    evidence = claims.Evidence(
        Dataset(unbalanced, DATA.test, DATA.features, DATA.classes), {}, {}, "PyTorch", 0.0
    )
    assert claims.the_data(evidence)[1] == NOT


def test_other_data_get_numbers_and_no_verdict():
    for claim in claims.CLAIMS:
        found, measures = verdict(claim.id, curves(), curves(), reports_own=False)
        assert found == "not testable (other data)"
        assert measures


def test_wilsons_interval():
    assert claims.wilson(188, 200) == pytest.approx((0.898, 0.965), abs=5e-4)


def test_figures_name_the_sides_by_fact():
    sides = [
        ("A", "hand gradients, course initialisation", curves()),
        ("C", "PyTorch 2.13", curves()),
    ]
    figure = figures.pair(sides, "accuracy", 2, 200)
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == ["A   hand gradients, course initialisation", "C   PyTorch 2.13"]
