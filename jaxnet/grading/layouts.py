"""How a student writes arrays: examples as rows or columns, weights [out, in] or [in, out]."""

from typing import NamedTuple

from jaxnet.grading.exercise import Array, Draw, Exercise


class Layout(NamedTuple):
    words: str
    has_columns: bool = False
    has_flat_biases: bool = True
    has_inputs_first: bool = False  # of weights: [in, out]

    def of(self, letters: tuple[str, ...], array: Array) -> Array:
        """An array of an exercise, of these letters, as this layout has it."""
        if letters[:1] == ("N",):
            if not self.has_columns:
                return array
            return array.T if array.ndim > 1 else array[None, :]
        if array.ndim == 2 and self.has_inputs_first:
            return array.T
        if array.ndim == 1 and self.has_columns and not self.has_flat_biases:
            return array[:, None]
        return array

    def back(self, letters: tuple[str, ...], array: Array) -> Array:
        """What `of` undoes."""
        is_made_two = len(letters) == 1 and array.ndim == 2
        if is_made_two:
            return array[0] if letters == ("N",) else array[:, 0]
        return self.of(letters, array)


LAYOUTS = {
    layout.words: layout
    for layout in (
        Layout("rows"),
        Layout("columns", True, False),
        Layout("columns, flat biases", True),
        Layout("rows, weights [in, out]", has_inputs_first=True),
        Layout("columns, weights [in, out]", True, False, True),
        Layout("columns, flat biases, weights [in, out]", True, True, True),
    )
}


def letters_of_value(draw: Draw) -> tuple[str, ...]:
    shape = draw.value.shape
    is_by_example = bool(shape) and shape[0] == draw.sizes.get("N")
    return ("N", *"?" * (len(shape) - 1)) if is_by_example else ("?",) * len(shape)


def calls(exercise: Exercise, layout: Layout, k: int) -> dict[str, Array]:
    """All that a student's functions are given in draw k, and the value that is expected."""
    draw = exercise.draws[k]
    found = {name: layout.of(exercise.shapes[name].letters, x) for name, x in draw.inputs.items()}
    of_value = letters_of_value(draw)
    found["value"] = layout.of(of_value, draw.value)
    found["cotangent"] = layout.of(of_value, draw.cotangent)
    return found
