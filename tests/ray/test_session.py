"""Starting and ending Ray for one run."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from actors.start import WorkerStart
from actors.vocabulary import Address, Role, Settings, UnavailableError
from supervisors.on_ray.session import RaySession, connect
from supervisors.process import SystemClock, alive
from supervisors.runtime import StartOrder

pytestmark = pytest.mark.ray

_REPOSITORY = Path(__file__).resolve().parents[2]

_PROGRAM = """
import asyncio, json, sys
sys.path.insert(0, sys.argv[2])
from actors.start import WorkerStart
from actors.vocabulary import Address, Role, Settings
from supervisors.process import descendants
from supervisors.on_ray.session import connect
from supervisors.runtime import StartOrder
import os
settings = Settings(data_dir=sys.argv[1])
session = connect(settings, namespace="calejo-session", make="tests.ray.actors_for_tests:make")
async def main():
    runtime = session.runtime()
    start = WorkerStart(role=Role.PUMP, address=Address("/one"), settings=settings)
    life, _ = await runtime.start(StartOrder(start=start), deadline_s=30.0)
    return (await runtime.ping(life, deadline_s=5.0)).pid
pid = asyncio.run(main())
below = descendants(os.getpid())
session.shutdown()
print(json.dumps({"pid": pid, "below": below, "temp": str(session.temp_dir), "cwd": os.getcwd()}))
"""


def test_a_decoy_beside_the_starter_is_not_imported_and_nothing_stays_behind(tmp_path: Path) -> None:
    """SUP-1, HA-1: workers import our packages whatever lies where they were started; shutdown ends every process."""
    decoy = tmp_path / "elsewhere"
    for package in ("supervisors", "actors", "storage"):
        (decoy / package).mkdir(parents=True)
        (decoy / package / "__init__.py").write_text("raise ImportError('a decoy')\n")
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, str(tmp_path / "data"), str(_REPOSITORY)],
        cwd=decoy, capture_output=True, text=True, timeout=90, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["pid"] in told["below"]
    assert not [pid for pid in told["below"] if alive(pid)]
    assert not Path(told["temp"]).exists()
    assert told["cwd"] == str(decoy)


_STRANGER = """
import sys, ray
try:
    ray.init(address=sys.argv[1], namespace="calejo", log_to_driver=False)
    print("let in:", len(ray.nodes()))
except BaseException as error:
    print("refused:", type(error).__name__, str(error)[:2000])
"""


def test_who_does_not_have_the_token_is_no_client(ray_session: RaySession, tmp_path: Path) -> None:
    """SEC-4: Ray's channels take orders from whoever has this user's token, and from nobody else."""
    shown = {"ours": {}, "another": {"RAY_AUTH_TOKEN": "0" * 64}, "none": {"RAY_AUTH_MODE": "disabled"}}
    # All at once: Ray's own client goes on trying for 20 s before it says that it was refused.
    clients = {
        name: subprocess.Popen(
            [sys.executable, "-c", _STRANGER, ray_session.address],
            cwd=tmp_path, stdout=subprocess.PIPE, text=True, env=os.environ | environment,
        )
        for name, environment in shown.items()
    }  # fmt: skip
    try:
        said = {name: client.communicate(timeout=150)[0] for name, client in clients.items()}
    finally:
        for client in clients.values():
            client.kill()
    assert {name for name, words in said.items() if "let in: 1" in words} == {"ours"}, said


@pytest.mark.parametrize("mode", ["disabled", "", "Disabled "])
def test_a_ray_that_asks_nobody_is_not_started(
    tmp_path: Path, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SEC-4: what the caller's environment turns off does not go by without a word."""
    monkeypatch.setenv("RAY_AUTH_MODE", mode)
    with pytest.raises(UnavailableError, match="RAY_AUTH_MODE"):
        connect(Settings(data_dir=str(tmp_path)))
    assert list(tmp_path.iterdir()) == [], "nothing was begun"


def test_a_stopped_process_is_gone_soon_after_its_kill(
    ray_session: RaySession, ray_settings: Settings
) -> None:
    """SUP-3: a hung process holds its port until it is dead; Ray by itself would leave it another 5 s."""

    async def story() -> float:
        runtime, clock = ray_session.runtime(), SystemClock()
        start = WorkerStart(role=Role.PUMP, address=Address("/hung"), settings=ray_settings)
        life, _ = await runtime.start(StartOrder(start=start), deadline_s=30.0)
        pid = (await runtime.ping(life, deadline_s=5.0)).pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        began = clock.now()
        await runtime.kill(life)
        while alive(pid) and clock.now().seconds_since(began) < 10.0:
            await clock.sleep(0.02)
        return clock.now().seconds_since(began)

    assert asyncio.run(story()) < 2.0
