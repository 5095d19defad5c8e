"""Bytecode check: goal: the bench never measures a start that compiles. Method: real packages, really compiled."""

from __future__ import annotations

import argparse
import compileall
import os
import py_compile
from pathlib import Path

import pytest

from ops.bench import main
from ops.bench.bytecode import Compiled, look, refusal, uncompiled
from ops.cli.exits import REFUSED, ExitError


@pytest.fixture
def package(tmp_path: Path) -> Path:
    folder = tmp_path / "thing"
    (folder / "inner").mkdir(parents=True)
    for name in ("__init__.py", "one.py", "inner/__init__.py", "inner/two.py"):
        (folder / name).write_text("VALUE = 1\n")
    return folder


def test_a_package_never_compiled_is_found(package: Path) -> None:
    """OPS-5: every file counts, those in folders below too."""
    found = look("thing", package)
    assert (found.files, found.missing, found.enough) == (4, 4, False)


@pytest.mark.parametrize("mode", list(py_compile.PycInvalidationMode))
def test_a_compiled_package_is_enough(package: Path, mode: py_compile.PycInvalidationMode) -> None:
    """OPS-5: by time stamp or by hash, as pip, make and distributions compile."""
    compileall.compile_dir(package, quiet=1, invalidation_mode=mode)
    assert look("thing", package) == Compiled(package="thing", files=4, missing=0)


def test_a_source_changed_since_is_found(package: Path) -> None:
    """OPS-5: Python would compile it anew at every start with PYTHONDONTWRITEBYTECODE set."""
    compileall.compile_dir(package, quiet=1)
    (package / "one.py").write_text("VALUE = 22\n")
    assert look("thing", package).missing == 1
    stat = (package / "inner/two.py").stat()
    os.utime(package / "inner/two.py", (stat.st_atime, stat.st_mtime + 5))
    assert look("thing", package).missing == 2


def test_another_pythons_file_does_not_count(package: Path) -> None:
    """OPS-5: a damaged or foreign compiled file is none."""
    compileall.compile_dir(package, quiet=1)
    for compiled in (package / "__pycache__").glob("one.*.pyc"):
        compiled.write_bytes(b"\0\0\r\n" + compiled.read_bytes()[4:])
    for compiled in (package / "__pycache__").glob("__init__.*.pyc"):
        compiled.write_bytes(b"")
    assert look("thing", package).missing == 2


def test_a_few_templates_do_not_count() -> None:
    """OPS-5: 5 of 100 files that no Python compiles are let pass, 6 are not."""
    assert Compiled(package="p", files=100, missing=5).enough
    assert not Compiled(package="p", files=100, missing=6).enough


def test_a_package_that_is_not_installed_is_not_lacking() -> None:
    """OPS-5: what is absent is not started, so it costs no compiling."""
    assert uncompiled(["no_such_package_anywhere"]) == []


def test_the_command_refuses_before_it_starts_anything(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """OPS-5: exit code 4, one line that names the package and what to do; no folder made, nothing printed."""
    lacking = [Compiled(package="ray", files=200, missing=150)]
    monkeypatch.setattr(main, "uncompiled", lambda: lacking)
    arguments = argparse.Namespace(
        json=tmp_path / "out.json", data_dir=tmp_path / "data", seconds=1.0, kills=1, config=None
    )
    with pytest.raises(ExitError) as refused:
        main.command(arguments)
    assert refused.value.code == REFUSED
    assert "ray (150 of 200 files)" in refused.value.line
    assert "make bench" in refused.value.line
    assert "\n" not in refusal(lacking)
    assert list(tmp_path.iterdir()) == []
    assert capsys.readouterr().out == ""
