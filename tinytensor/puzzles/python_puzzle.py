"""Puzzles that are solved in Python: views by their strides, broadcasting, gradients."""

from __future__ import annotations

from dataclasses import dataclass

from tinytensor.puzzles.puzzle import Puzzle

VIEW, VALUES, GRADIENT = "view", "values", "gradient"
RULES = {
    VIEW: "one expression, a call of as_strided; no element is copied",
    VALUES: "one expression of arange, where, indices and operators",
    GRADIENT: "any ops, but no autograd; a tuple if there are several gradients",
}
CALLS = {VIEW: {"as_strided"}, VALUES: {"arange", "where"}}  # what may be called
AUTOGRAD = {"grad", "vjp", "jvp", "backward", "func", "requires_grad", "requires_grad_", "Function"}


@dataclass(frozen=True, kw_only=True)
class PythonPuzzle(Puzzle):
    """A puzzle whose solution is a Python function; its parameters are inputs and sizes, by name.

    Attributes:
        kind: VIEW: the function returns a view of x. VALUES: an expression of few functions. GRADIENT: the
            function `backward` returns the gradients of the floating inputs, given dy.
        arguments: parameters of the function in the start file; (): all inputs.
    """

    kind: str
    arguments: tuple[str, ...] = ()

    @property
    def rules(self) -> str:
        """Names that a solution may use."""
        return RULES[self.kind]

    @property
    def function(self) -> str:
        """Name of the function."""
        return "backward" if self.kind == GRADIENT else self.name

    @property
    def parameters(self) -> str:
        """Types that the parameters of the function may have."""
        names = ["dy"] * (self.kind == GRADIENT) + [t.name for t in self.inputs] + self.sizes.split()
        return f"{self.function}, whose parameters are some of {', '.join(names)}"

    def file_name(self, number: int) -> str:
        """Name of the learner's file."""
        return f"{number:02d}_{self.name}.py"

    def start_text(self, number: int) -> str:
        """The file that the learner begins with."""
        names = self.arguments or tuple(t.name for t in self.inputs)
        given = ("dy", *names) if self.kind == GRADIENT else names
        first = "x.as_strided((1,), (1,), 0)" if self.kind == VIEW else "dy" if self.kind == GRADIENT else "0"
        return (
            f'"""Puzzle {number}: {self.title}"""\n\nimport tinytensor as tt\n\n\n'
            f"def {self.function}({', '.join(given)}):\n"
            f'    """{self.signature}: {self.reference}"""\n    return {first}\n'
        )
