"""What the rules take on an accelerator: beside autodiff and what others have, in bfloat16 too.

Calls are timed with a dozen of them in flight, as in training, where nobody waits for one. Float32
products are what the platform makes of them, TF32 on a GPU.
"""

import argparse
import functools
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from statistics import median
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from catalogue import MEASURES
from catalogue.entry import TIMED, Measure
from common.files import write_json
from common.pullbacks import is_inexact, pullback

from benchmarks.environment import environment, in_words, print_paragraph
from jaxnet.rules import attention, linear_softmax_cross_entropy

SHAPES = (8192, 4096), (8192, 32768)
LONG = "softmax", "log_softmax", "softmax_cross_entropy"  # at the second shape too
DTYPES = jnp.bfloat16, jnp.float32
# rows, columns, classes, dtype
FUSED = (
    (8192, 4096, 128256, jnp.bfloat16),
    (16384, 2048, 50304, jnp.bfloat16),
    (2048, 256, 32768, jnp.float32),
)
# examples, tokens, heads, numbers of a head
ATTENTION = (8, 1024, 16, 64), (2, 4096, 8, 128), (1, 8192, 8, 64)
IN_FLIGHT = 12
SLOWER = 1.05  # of the fastest: what falls short


class Case(NamedTuple):
    """Functions of the same arguments that compute the same; ours is called hand."""

    title: str
    ways: dict[str, Callable[..., Any]]
    args: Callable[[], tuple[Any, ...]]
    reason: str = ""  # why ours may be slower


class Result(NamedTuple):
    """What was measured of one case, by way; entry i is from round i."""

    seconds: dict[str, list[float]]
    temporary: dict[str, int]  # bytes

    def against(self, way: str) -> float:
        """The time by hand over that of another way: the median of the rounds' ratios."""
        pairs = zip(self.seconds["hand"], self.seconds[way], strict=True)
        return median(hand / other for hand, other in pairs)


# ---- what is measured


def rule_cases(divide: int) -> Iterator[Case]:
    for name, measure in MEASURES.items():
        if measure.timed != TIMED:  # of matrix products
            continue
        for rows, columns in SHAPES if name in LONG else SHAPES[:1]:
            shape = rows // divide, columns // divide
            for dtype in DTYPES:
                ways = {way: pullback(f) for way, f in measure.ways().items()}
                args = functools.partial(arguments, measure, shape, dtype)
                title = f"{name} {list(shape)} {jnp.dtype(dtype).name}"
                yield Case(title, ways, args, measure.reason)


def arguments(measure: Measure, shape: tuple[int, int], dtype: Any) -> tuple[Any, ...]:
    args = [
        jnp.asarray(a, dtype) if is_inexact(a) else jnp.asarray(a) for a in measure.args(*shape)
    ]
    return normal(1, jax.eval_shape(measure.ways()["hand"], *args)), *args


def normal(seed: int, like: Any) -> Any:
    return jax.random.normal(jax.random.key(seed), like.shape, jnp.float32).astype(like.dtype)


def fused_cases(divide: int) -> Iterator[Case]:
    def textbook(x: Any, weight: Any, labels: Any) -> Any:
        logits = (x @ weight.T).astype(jnp.float32)
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    def narrow(x: Any, weight: Any, labels: Any) -> Any:
        return optax.softmax_cross_entropy_with_integer_labels(x @ weight.T, labels).mean()

    def hand(x: Any, weight: Any, labels: Any) -> Any:
        return linear_softmax_cross_entropy(x, weight, None, labels)

    for rows, columns, classes, dtype in FUSED:
        sizes = rows // divide, columns // divide, classes // divide
        ways = {"hand": hand, "text": textbook}
        if dtype != jnp.float32:
            ways["text, narrow logits"] = narrow
        yield Case(
            f"linear_softmax_cross_entropy {list(sizes)} {jnp.dtype(dtype).name}",
            {way: jax.value_and_grad(f, argnums=(0, 1)) for way, f in ways.items()},
            functools.partial(classifier, *sizes, dtype),
            MEASURES["linear_softmax_cross_entropy"].reason,
        )


def classifier(rows: int, columns: int, classes: int, dtype: Any) -> tuple[Any, Any, Any]:
    x, weight, labels = map(jax.random.key, range(3))
    return (
        jax.random.normal(x, (rows, columns), dtype),
        jax.random.normal(weight, (classes, columns), dtype) / columns**0.5,
        jax.random.randint(labels, (rows,), 0, classes),
    )


def attention_cases(divide: int) -> Iterator[Case]:
    others = ["xla", "cudnn"] if jax.default_backend() == "gpu" else ["xla"]
    for examples, tokens, heads, dim in ATTENTION:
        shape = examples, tokens // divide, heads, dim
        like = jax.ShapeDtypeStruct(shape, jnp.bfloat16)
        for causal in (False, True):
            hand = functools.partial(attention, causal=causal)
            jax_has = functools.partial(jax.nn.dot_product_attention, is_causal=causal)
            ways = {way: functools.partial(jax_has, implementation=way) for way in others}
            yield Case(
                f"attention{', causal' if causal else ''} {list(shape)} bfloat16",
                {way: pullback(f) for way, f in {"hand": hand, **ways}.items()},
                functools.partial(tuple, [normal(seed, like) for seed in range(4)]),
                "cudnn's kernel never writes a product to memory",
            )


def digits_of_a_sum(divide: int) -> str:
    """What W's gradient loses where its sum over chunks is kept in bfloat16."""
    rows, columns, classes = 8192, 1024 // divide, 16384 // divide
    x, weight, labels = classifier(rows, columns, classes, jnp.bfloat16)

    def gradient(x: Any, weight: Any, labels: Any) -> Any:
        return jax.grad(linear_softmax_cross_entropy, argnums=1)(
            x, weight, None, labels, reduction="sum"
        )

    with jax.default_matmul_precision("highest"):
        x, weight = x.astype(jnp.float32), weight.astype(jnp.float32)
        true = gradient(x, weight, labels)
        wide, narrow = jnp.zeros_like(true), jnp.zeros_like(true, jnp.bfloat16)
        for chunk, y in zip(jnp.split(x, 4), jnp.split(labels, 4), strict=True):
            part = gradient(chunk, weight, y)
            wide, narrow = wide + part, (narrow + part).astype(narrow.dtype)

    def error(sums: Any) -> float:
        difference = sums.astype(jnp.bfloat16).astype(jnp.float32) - true
        return float(jnp.linalg.norm(difference) / jnp.linalg.norm(true))

    return (
        f"W's gradient, {rows} rows in 4 chunks, {columns} columns, {classes} classes, bfloat16: "
        f"relative error {error(wide):.1e} where the sum is kept in float32 and rounded once, "
        f"{error(narrow):.1e} where it is kept in bfloat16"
    )


# ---- how


def prepared(case: Case, way: str, args: "Future[Any]") -> Any:
    return jax.jit(case.ways[way]).lower(*args.result()).compile()


def measure_all(cases: list[Case], rounds: int) -> Iterator[tuple[Case, Result]]:
    """All are compiled before the first is timed: timing is alone on the machine."""
    with ThreadPoolExecutor() as pool:
        args = [pool.submit(case.args) for case in cases]
        programs = [
            {way: pool.submit(prepared, case, way, given) for way in case.ways}
            for case, given in zip(cases, args, strict=True)
        ]
    for case, given, by_way in zip(cases, args, programs, strict=True):
        try:
            compiled = {way: program.result() for way, program in by_way.items()}
            yield case, measured(compiled, given.result(), rounds)
        except Exception as error:  # the others are worth their time
            print(f"{case.title}: {str(error).strip().splitlines()[0]}", flush=True)


def measured(compiled: dict[str, Any], args: tuple[Any, ...], rounds: int) -> Result:
    for program in compiled.values():
        jax.block_until_ready(program(*args))
    seconds: dict[str, list[float]] = {way: [] for way in compiled}
    for i in range(rounds):
        for way in list(compiled) if i % 2 else reversed(compiled):
            seconds[way].append(in_flight(functools.partial(compiled[way], *args)))
    temporary = {
        way: int(program.memory_analysis().temp_size_in_bytes) for way, program in compiled.items()
    }
    return Result(seconds, temporary)


def in_flight(call: Callable[[], Any]) -> float:
    begin = time.perf_counter()
    for _ in range(IN_FLIGHT):
        last = call()
    jax.block_until_ready(last)
    return (time.perf_counter() - begin) / IN_FLIGHT


# ---- what is said

HEAD = "| rule | by hand, us | MiB | time ÷ others |\n|---|---|---|---|"


def line(case: Case, result: Result) -> str:
    others = ", ".join(
        f"{way} {result.against(way):.2f} ({result.temporary[way] / 2**20:.0f} MiB)"
        for way in result.seconds
        if way != "hand"
    )
    took = median(result.seconds["hand"]) * 1e6
    return f"| {case.title} | {took:.0f} | {result.temporary['hand'] / 2**20:.0f} | {others} |"


def short(case: Case, result: Result) -> str | None:
    """That ours is slower than the fastest, if so."""
    ratio, way = max((result.against(way), way) for way in result.seconds if way != "hand")
    if ratio <= SLOWER:
        return None
    return f"{case.title}: {ratio:.2f} of {way}; {case.reason or 'no reason is given'}"


LEGEND = f"""\
Value and gradients as one program; us: the median; time ÷ others: the median of the interleaved
rounds' ratios, with {IN_FLIGHT} calls in flight; MiB: what the compiled program needs beside
arguments and results. auto: autodiff of the rule's body; ckpt: that under jax.checkpoint; text:
autodiff of the textbook's expression, or of what jax.nn, jnp and optax have, with float32 logits
for linear_softmax_cross_entropy [rows, columns, classes]; attention [examples, tokens, heads,
numbers of a head] beside jax.nn.dot_product_attention."""


def run(options: argparse.Namespace) -> None:
    about = environment()
    print_paragraph(in_words(about))
    if jax.default_backend() != options.platform:
        raise SystemExit(
            f"benchmark.py: error: --platform {options.platform}: jax runs on "
            f"{jax.default_backend()} here"
        )
    print(HEAD, flush=True)
    results, fallen = {}, []
    for cases in (rule_cases, fused_cases, attention_cases):
        chosen = [
            case
            for case in cases(options.divide)
            if not options.names or case.title.split()[0].rstrip(",") in options.names
        ]
        for case, result in measure_all(chosen, options.repeats):
            print(line(case, result), flush=True)
            results[case.title] = result
            fallen.append(short(case, result))
    print(flush=True)
    if not options.names:
        print_paragraph(digits_of_a_sum(options.divide))
    print_paragraph(LEGEND)
    print(f"Slower than {SLOWER} of the fastest:", *filter(None, fallen), sep="\n", flush=True)
    if options.json:
        content = {title: result._asdict() for title, result in results.items()}
        write_json(options.json, {"environment": about, "rules": content})
