"""Changes one thing in a law module and asks whether any proof misses it: `python -m tests.proof.mutants MODULE INDEX`.

Our own and small, because the law is a few thousand lines, its proofs run in-process in a moment, and a mutant must be
put in place of a module before anything imports it (see 0035). Exit code 0: missed by a proof; 1: it survived.
"""

from __future__ import annotations

import ast
import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Final

ROOT: Final = Path(__file__).parents[2]
SAFETY_TESTS: Final = tuple(
    f"tests/unit/actors/safety/test_{name}.py"
    for name in (
        "ramp",
        "failsafe",
        "strategies",
        "following",
        "rules",
        "hand_back",
        "station_pass",
        "timers",
        "rotation",
        "limits",
        "latch",
        "safety_actor",
        "kernel",
    )
)
GATE_TESTS: Final = ("tests/unit/actors/publisher/test_gate.py", "tests/unit/actors/publisher/test_actor.py")

PROOFS: Final = {
    "actors.safety.ramp": SAFETY_TESTS,
    "actors.safety.hand_back": SAFETY_TESTS,
    "actors.safety.failsafe": SAFETY_TESTS,
    "actors.safety.strategies": SAFETY_TESTS,
    "actors.safety.following": SAFETY_TESTS,
    "actors.publisher.gate": GATE_TESTS,
}
"""The modules that are changed, and the unit tests that are asked after the search."""

_OTHER: Final[dict[type[ast.cmpop], type[ast.cmpop]]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip


@dataclass(frozen=True)
class Mutant:
    """One change: in which function, and what became of what."""

    index: int
    where: str
    before: str
    after: str

    def __str__(self) -> str:
        return f"{self.where}: {self.before} => {self.after}"


def _changes(node: ast.AST) -> Iterator[ast.expr]:
    """Yield what an expression may be changed to."""
    match node:
        case ast.Compare(ops=[operator]) if type(operator) in _OTHER:
            yield ast.Compare(node.left, [_OTHER[type(operator)]()], node.comparators)
        case ast.BoolOp():
            for number in range(len(node.values)):
                rest = [*node.values[:number], *node.values[number + 1 :]]
                yield rest[0] if len(rest) == 1 else ast.BoolOp(node.op, rest)
        case ast.UnaryOp(op=ast.Not()):
            yield node.operand
        case ast.Call(func=ast.Name(id="min" | "max" as name)):
            yield ast.Call(ast.Name("max" if name == "min" else "min", ast.Load()), node.args, node.keywords)
        case ast.BinOp(op=ast.Add() | ast.Sub()):
            other = ast.Sub() if isinstance(node.op, ast.Add) else ast.Add()
            yield ast.BinOp(node.left, other, node.right)
        case ast.IfExp():
            yield node.body
            yield node.orelse
        case _:
            return


class _Changer(ast.NodeTransformer):
    """Counts every possible change, and makes the one that is asked for."""

    def __init__(self, wanted: int | None) -> None:
        self._wanted = wanted
        self._inside: list[str] = []
        self.found: list[Mutant] = []

    def visit(self, node: ast.AST) -> ast.AST:
        if isinstance(node, ast.Assert | ast.AnnAssign | ast.arguments):
            return node
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            self._inside.append(node.name)
            self.generic_visit(node)
            self._inside.pop()
            return node
        chosen: ast.AST = node
        for change in _changes(node) if self._inside else ():
            mutant = Mutant(len(self.found), ".".join(self._inside), ast.unparse(node), ast.unparse(change))
            self.found.append(mutant)
            if mutant.index == self._wanted:
                chosen = ast.copy_location(change, node)
        if chosen is node:
            self.generic_visit(node)
        else:
            # Count what lies inside all the same, so that every change keeps its number.
            self._wanted = None
            self.generic_visit(node)
        return chosen


def changed(module: str, index: int | None) -> tuple[ast.Module, list[Mutant]]:
    """Return the module with one change made (None: none), and every change there is."""
    path = ROOT / Path(*module.split(".")).with_suffix(".py")
    changer = _Changer(index)
    tree = changer.visit(ast.parse(path.read_text(encoding="utf-8")))
    assert isinstance(tree, ast.Module)
    return ast.fix_missing_locations(tree), changer.found


class _InItsPlace(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def __init__(self, module: str, tree: ast.Module) -> None:
        self._module, self._tree = module, tree

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        return importlib.util.spec_from_loader(fullname, self) if fullname == self._module else None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        exec(compile(self._tree, f"<{self._module}, changed>", "exec"), module.__dict__)


def missed(module: str, index: int | None) -> bool:
    """Whether a proof misses the change; to be asked once in a process, before the module is imported."""
    assert module not in sys.modules, f"{module} is imported already"
    sys.meta_path.insert(0, _InItsPlace(module, changed(module, index)[0]))
    import pytest

    try:
        from tests.proof.search import FIRST_CASES, findings
        from tests.proof.spaces import SPACES

        if module.startswith("actors.safety"):
            for space in SPACES:
                if next(findings(space, space.indices(FIRST_CASES)), None) is not None:
                    return True
    except Exception:  # noqa: BLE001  (a kernel that raises is missed, whatever it raises)
        return True
    quiet = ("-x", "-q", "-p", "no:cacheprovider")
    return pytest.main([*quiet, *PROOFS[module]]) is not pytest.ExitCode.OK


if __name__ == "__main__":
    module_, index_ = sys.argv[1], int(sys.argv[2])
    sys.exit(0 if missed(module_, None if index_ < 0 else index_) else 1)
