"""The closing tables, seen from outside: small test runs in a folder of their own."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.reporting import system_under_test

ROOT: Final = Path(__file__).parents[2]
CONFIG: Final = (
    '[tool.pytest]\nstrict = true\naddopts = ["--import-mode=importlib"]\nmarkers = ["system(name): x"]\n'
)


@pytest.mark.parametrize(
    ("file", "system"),
    [
        ("tests/unit/actors/safety/test_kernel.py", "actors.safety"),
        ("tests/unit/actors/safety/deep/test_kernel.py", "actors.safety"),
        ("tests/unit/actors/test_runtime.py", "actors.runtime"),
        ("tests/unit/test_ground.py", "ground"),
        ("tests/wire/modbus/test_frames.py", "wire.modbus"),
        ("tests/wire/test_modbus.py", "wire.modbus"),
        ("elsewhere/test_x.py", "(outside tests/)"),
    ],
)
def test_the_path_names_the_system(file: str, system: str) -> None:
    """OPS-6: each kind of path that the tests have, and the system that its line is added to."""
    assert system_under_test(file) == system


def run(folder: Path, files: dict[str, str], **environment: str) -> tuple[int, list[str]]:
    """Run pytest over `files` with our two plugins; return its exit code and what it printed."""
    (folder / "pyproject.toml").write_text(CONFIG, encoding="utf-8")
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    plain = {name: value for name, value in os.environ.items() if name not in {"CI", "PYTEST_ADDOPTS"}}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "tests.services", "-p", "tests.reporting", "--color=no"],
        cwd=folder,
        env=plain | {"PYTHONPATH": str(ROOT)} | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout.splitlines()


def row(lines: list[str], name: str) -> list[int]:
    """Passed, failed and skipped of the one line that begins with `name`."""
    (found,) = [line for line in lines if re.match(re.escape(name) + r"  +\d", line)]
    assert re.search(r"\d+\.\d\d$", found), "a line ends with its seconds"
    return [int(figure) for figure in found.removeprefix(name).split()[:3]]


STORIES: Final = {
    "tests/unit/actors/safety/test_a.py": """
import pytest
def test_passes(): pass
def test_fails(): assert False
@pytest.mark.skip(reason="why not")
def test_skips(): pass
@pytest.fixture
def broken():
    yield
    raise RuntimeError
def test_passes_but_cannot_clear_up(broken): pass
""",
    "tests/unit/actors/safety/test_b.py": """
import pytest
def test_passes(subtests):
    with subtests.test("one"): pass
@pytest.mark.system("the moon")
def test_of_something_else(): pass
""",
    "tests/wire/test_modbus.py": "import nothing_of_this_name",
}


def test_a_line_per_file_and_per_system_then_the_closing_line(tmp_path: Path) -> None:
    """OPS-6: three files with every outcome there is; each test is counted once, by its worst phase."""
    code, lines = run(tmp_path, STORIES)
    assert code != 0
    assert row(lines, "tests/wire/test_modbus.py") == [0, 1, 0]
    assert row(lines, "wire.modbus") == [0, 1, 0]

    code, lines = run(tmp_path, {"tests/wire/test_modbus.py": "def test_passes(): pass"})
    assert code == 1
    assert row(lines, "tests/unit/actors/safety/test_a.py") == [1, 2, 1]
    assert row(lines, "tests/unit/actors/safety/test_b.py") == [2, 0, 0]
    assert row(lines, "tests/wire/test_modbus.py") == [1, 0, 0]
    assert row(lines, "actors.safety") == [2, 2, 1]
    assert row(lines, "the moon") == [1, 0, 0]
    assert row(lines, "wire.modbus") == [1, 0, 0]
    assert re.fullmatch(r"=+ .*5 passed.* in .*=+", lines[-1])
    assert re.match(r"wire\.modbus ", lines[-2])


NEEDY: Final = """
from tests.services import program
def test_needs_it(): program("no-such-program", service="moonshine")
"""


def test_a_missing_service_is_named_in_the_summary(tmp_path: Path) -> None:
    """OPS-6: nothing is skipped unseen."""
    code, lines = run(tmp_path, {"tests/wire/test_x.py": NEEDY})
    assert code == 0
    assert row(lines, "wire.x") == [0, 0, 1]
    assert "SKIPPED FOR LACK OF: moonshine (1). `make services` installs them." in lines


def test_a_missing_service_fails_in_continuous_integration(tmp_path: Path) -> None:
    """OPS-6: where everything must be there, a skip would hide that nothing was tested."""
    code, lines = run(tmp_path, {"tests/wire/test_x.py": NEEDY}, CI="true")
    assert code == 1
    assert row(lines, "wire.x") == [0, 1, 0]
