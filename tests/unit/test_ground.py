"""The rules of the house that neither ruff nor import-linter can say."""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
PACKAGES: Final = ("actors", "supervisors", "protocols", "api", "storage", "ops")
RAY_MODULE = re.compile(r"(ops/.*|supervisors/(on_ray|forking)/.*)")


def imports(file: Path) -> Iterator[str]:
    """Every module that a file imports absolutely, wherever in it."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"), filename=str(file))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno}: imports are absolute here"
            assert node.module is not None
            yield node.module


def test_only_the_ray_runtime_and_ops_import_ray() -> None:
    """DESIGN, the house: read every module of ours; outside ops/, supervisors/on_ray/ and forking/ none imports ray."""
    files = [file for package in PACKAGES for file in (ROOT / package).rglob("*.py")]
    assert len(files) >= len(PACKAGES)
    speakers = {
        file.relative_to(ROOT).as_posix()
        for file in files
        if any(name.partition(".")[0] == "ray" for name in imports(file))
    }
    assert {path for path in speakers if not RAY_MODULE.fullmatch(path)} == set()


def test_vocabulary_needs_nothing_but_msgspec() -> None:
    """DESIGN, the house: the leaf that everybody may import has no weight of its own."""
    files = [*(ROOT / "actors").glob("vocabulary.py"), *(ROOT / "actors" / "vocabulary").rglob("*.py")]
    assert files
    allowed = sys.stdlib_module_names | {"msgspec"}
    foreign = {
        f"{file.relative_to(ROOT)}: {name}"
        for file in files
        for name in imports(file)
        if name.partition(".")[0] not in allowed and not name.startswith("actors.vocabulary")
    }
    assert foreign == set()


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt"])
def test_requirements_are_hashed_and_name_no_index(name: str) -> None:
    """OPS-3: each requirement is one exact version with its hashes; nothing says where to fetch it from."""
    text = (ROOT / name).read_text(encoding="utf-8")
    entries = text.replace("\\\n", " ").strip().splitlines()
    assert len(entries) > 20
    for entry in entries:
        assert re.fullmatch(r"[a-z0-9-]+==[\w.]+( ; [^\\]+?)?(\s+--hash=sha256:[0-9a-f]{64})+\s*", entry), (
            entry
        )


def test_development_requirements_contain_the_runtime_ones() -> None:
    """OPS-3: the tests run with exactly the versions that are shipped."""
    runtime, development = (
        set(re.findall(r"^\S+==\S+", (ROOT / name).read_text(encoding="utf-8"), flags=re.MULTILINE))
        for name in ("requirements.txt", "requirements-dev.txt")
    )
    assert runtime - development == set()


def test_npm_lock_names_no_registry() -> None:
    """OPS-3: the peers of the wire tests are locked by hash, wherever they are fetched from."""
    lock = (ROOT / "tests" / "peers" / "package-lock.json").read_text(encoding="utf-8")
    assert '"integrity"' in lock
    assert '"resolved"' not in lock
