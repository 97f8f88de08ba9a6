"""All that is known of a rule beside the library: a file here for each file of jaxnet/rules/.

Of each rule a file holds the textbook's expression, the points at which the tests hold it, what the
benchmark measures, the truth where autodiff loses digits, and faults that the tests must reject.
Tests and benchmarks read the same entry; a new file and a new Entry are found by themselves.
"""

import importlib
import pkgutil

from catalogue.entry import Entry, Measure

# The order of the tables. A family that is not named here comes after those that are.
FAMILIES = (
    "_linear",
    "_activations",
    "_softmax",
    "_layer_norm",
    "_dropout",
    "_safe_norm",
    "_cross_entropy",
    "_fused_cross_entropy",
    "_regression",
    "_embedding",
    "_attention",
    "_conv_transpose",
)


def find_entries() -> dict[str, Entry]:
    files = [file.name for file in pkgutil.iter_modules(__path__) if file.name.startswith("_")]
    entries = {}
    for name in dict.fromkeys((*FAMILIES, *files)):
        for value in vars(importlib.import_module(f"catalogue.{name}")).values():
            if isinstance(value, Entry):
                entries[value.name] = value
    return entries


ENTRIES: dict[str, Entry] = find_entries()
MEASURES: dict[str, Measure] = {
    name: measure for entry in ENTRIES.values() for name, measure in entry.measured().items()
}
