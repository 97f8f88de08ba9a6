"""What a proof says: a verdict for every leaf, and what it stands on."""

import enum
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field


class Verdict(enum.StrEnum):
    """The worst first."""

    REFUTED = "refuted"
    NOT_PROVED = "not proved"
    PROVED = "proved"


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    order = list(Verdict)
    return min(verdicts, key=order.index, default=Verdict.NOT_PROVED)


@dataclass(frozen=True)
class LeafProof:
    """What is said of one output, or of the cotangent of one argument.

    name: "output", or the path of the argument's leaf.
    verdict: "proved", "refuted" or "not proved".
    chance: that a leaf which differs is called proved.
    index: the element that differs most.
    rule, ref: the two values there, in float64.
    note: why it is not proved.

    >>> proof = jaxnet.prove(jaxnet.relu, jnp.array([-1.0, 2.0]))
    >>> [(leaf.name, str(leaf.verdict)) for leaf in proof.leaves]
    [('output', 'proved'), ('x', 'proved')]
    """

    name: str
    verdict: Verdict
    chance: float = 1.0
    index: tuple[int, ...] = ()
    rule: float = math.nan
    ref: float = math.nan
    note: str = ""

    def __str__(self) -> str:
        line = f"{self.name}: {self.verdict}"
        if self.verdict is Verdict.REFUTED:
            at = f"[{', '.join(map(str, self.index))}]" if self.index else ""
            line += f": at {self.name}{at} the rule has {self.rule:.10g}, not {self.ref:.10g}"
        return f"{line} ({self.note})" if self.note else line


@dataclass(frozen=True)
class Proof:
    """What `prove` found: a verdict, for every leaf too, and what it stands on.

    verdict: the worst of the leaves'; "refuted" too where one of further is.
    leaves: a LeafProof for each output and each floating leaf of the arguments.
    further: what else was compared -> its leaves: "second order"; "x alone", a gradient of x alone.
    note: why nothing was compared, or beside which point.
    visited, unvisited: sides of branches on which it is proved, and those on which it is not.
    assumed: what else the proof stands on.
    not_asked: which of further could not be compared, and why.

    >>> print(jaxnet.prove(jaxnet.relu, jnp.array([-1.0, 2.0])).verdict)
    proved
    """

    verdict: Verdict
    leaves: tuple[LeafProof, ...] = ()
    further: Mapping[str, tuple[LeafProof, ...]] = field(default_factory=dict)
    note: str = ""
    visited: tuple[str, ...] = ()
    unvisited: tuple[str, ...] = ()
    assumed: tuple[str, ...] = ()
    not_asked: tuple[str, ...] = ()

    @property
    def chance(self) -> float:
        """That one that differs is called proved, at most.

        >>> jaxnet.prove(jaxnet.relu, jnp.array([-1.0, 2.0])).chance < 1e-15
        True
        """
        return max((leaf.chance for leaf in self.leaves), default=1.0)

    def require(self) -> "Proof":
        """Raise unless it is proved.

        Returns the proof.
        Raises AssertionError with the whole text where it is not proved.

        >>> jaxnet.prove(jaxnet.relu, jnp.array([-1.0, 2.0])).require().verdict
        <Verdict.PROVED: 'proved'>
        """
        if self.verdict is not Verdict.PROVED:
            raise AssertionError(str(self))
        return self

    def sentence(self) -> str:
        """In one line, as a report has it.

        Returns a string.

        >>> print(jaxnet.prove(jnp.sin, 1.0).sentence())
        not known (no rule in it and no ref: nothing was compared)
        """
        if self.verdict is Verdict.PROVED:
            return f"equal; chance of a miss below {_power_of_ten(self.chance)}"
        every = [*self.leaves, *(leaf for leaves in self.further.values() for leaf in leaves)]
        refuted = [f"`{leaf.name}`" for leaf in every if leaf.verdict is Verdict.REFUTED]
        if refuted:
            return f"differs in {', '.join(refuted)}"
        notes = dict.fromkeys(leaf.note for leaf in every if leaf.verdict is Verdict.NOT_PROVED)
        return f"not known ({self.note or '; '.join(notes)})"

    def __str__(self) -> str:
        lines = [f"{self.verdict}: {_MEANING[self.verdict]}"]
        if self.verdict is Verdict.PROVED:
            lines[0] += f"; chance of a miss below {_power_of_ten(self.chance)}"
        lines += [f"  {self.note}"] if self.note else []
        lines += [f"  {leaf}" for leaf in self.leaves]
        for what, leaves in self.further.items():
            lines += _of_further(what, leaves)
        lines += [f"  no proof there: {side}" for side in self.unvisited]
        lines += [f"  assumed: {what}" for what in self.assumed]
        lines += [f"  not asked: {what}" for what in self.not_asked]
        return "\n".join(lines)


def _of_further(what: str, leaves: Iterable[LeafProof]) -> list[str]:
    """In one line where all is proved."""
    others = [f"  {leaf}" for leaf in leaves if leaf.verdict is not Verdict.PROVED]
    return others or [f"  {what}: {Verdict.PROVED}"]


@dataclass(frozen=True)
class ProofOfSizes:
    """What `prove_sizes` found: a Proof for each combination of sizes.

    proofs: "n=1, d=2" -> its Proof.

    >>> family = jaxnet.prove_sizes(jaxnet.relu, lambda n: (jnp.ones(n),), {"n": (1, 2)})
    >>> list(family.proofs)
    ['n=1', 'n=2']
    """

    proofs: Mapping[str, Proof]

    @property
    def verdict(self) -> Verdict:
        """The worst of all.

        >>> family = jaxnet.prove_sizes(jaxnet.relu, lambda n: (jnp.ones(n),), {"n": (1, 2)})
        >>> print(family.verdict)
        proved
        """
        return worst(proof.verdict for proof in self.proofs.values())

    def require(self) -> "ProofOfSizes":
        """Raise unless all are proved.

        Returns itself.
        Raises AssertionError with the whole text of the first that is not.

        >>> make = lambda n: (jnp.ones(n),)
        >>> jaxnet.prove_sizes(jaxnet.relu, make, {"n": (1, 2)}).require().verdict
        <Verdict.PROVED: 'proved'>
        """
        for sizes, proof in self.proofs.items():
            if proof.verdict is not Verdict.PROVED:
                raise AssertionError(f"{sizes}: {proof}")
        return self

    def __str__(self) -> str:
        sizes = [f"  {sizes}: {proof.sentence()}" for sizes, proof in self.proofs.items()]
        return "\n".join([f"{self.verdict}: {len(self.proofs)} combinations of sizes", *sizes])


_MEANING = {
    Verdict.PROVED: "equal as algebra at these shapes, on the sides of branches that were entered",
    Verdict.REFUTED: "they differ",
    Verdict.NOT_PROVED: "this says neither that they are equal nor that they differ",
}


def _power_of_ten(chance: float) -> str:
    return f"1e{math.ceil(math.log10(chance))}" if chance > 1e-300 else "1e-300"
