"""Forking where a Ray of its own is needed: sudden death, changed code, another Ray, a second node, TLS.

Method: a script starts Ray in a process of its own and tells what it saw as JSON.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from supervisors.process import alive, descendants

pytestmark = pytest.mark.ray

ROOT = Path(__file__).parents[2]
BEGIN = """
import json, os, sys, time, pathlib
import supervisors
from actors.vocabulary import Settings
from supervisors.on_ray import session as ray_session
import ray
from tests.ray.forking_for_tests import Looker, looker

def tell(**what):
    print(json.dumps(what), flush=True)

def facts(handle=None):
    return ray.get((handle or looker()).facts.remote(), timeout=60)

def start():
    return ray_session.connect(Settings(data_dir=os.environ["DATA_DIR"]))
"""


class Script:
    """A script in a process of its own, ended with everything that it started."""

    def __init__(self, text: str, data_dir: Path, *, code: Path = ROOT, **environment: str) -> None:
        inherited = {
            key: value for key, value in os.environ.items() if not key.startswith(("CALEJO_", "RAY_"))
        }
        inherited.pop("PYTHONDONTWRITEBYTECODE", None)
        own = {"PYTHONPATH": str(code), "DATA_DIR": str(data_dir)}
        self._stderr = (data_dir / "stderr").open("wb")
        self.process = subprocess.Popen(
            [sys.executable, "-c", BEGIN + text],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            text=True,
            env=inherited | own | environment,
            cwd=data_dir,
            start_new_session=True,
        )
        self.data_dir = data_dir

    def heard(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("{"):
                said: dict[str, Any] = json.loads(line)
                return said
        raise AssertionError((self.data_dir / "stderr").read_text()[-3000:])

    def go_on(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def end(self) -> None:
        below = descendants(self.process.pid)
        self.process.kill()
        for pid in filter(alive, below):
            os.kill(pid, signal.SIGKILL)
        self.process.communicate(timeout=30)
        self._stderr.close()

    def log(self) -> list[dict[str, Any]]:
        path = self.data_dir / "logs" / "foreground.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def script(tmp_path: Path) -> Iterator[Callable[..., Script]]:
    running: list[Script] = []

    def begin(text: str, **options: Any) -> Script:
        running.append(Script(text, tmp_path, **options))
        return running[-1]

    yield begin
    for each in running:
        each.end()


def _command(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode().strip()


def _until(holds: Callable[[], object], *, within_s: float, what: str) -> None:
    deadline_s = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline_s, what
        time.sleep(0.05)


def test_nothing_outlives_the_sudden_death_of_its_owner(script: Callable[..., Script]) -> None:
    """SUP-8: SIGKILL of whoever started Ray: host, template and forked workers end, and the socket is gone."""
    said = (
        run := script("""
session = start()
kept = looker()
tell(**facts(kept), status=session.forking.status(), folder=str(session.temp_dir))
sys.stdin.read()
""")
    ).heard()
    assert said["birth"] == "forked"
    # Ray's two agents end by themselves, with forked workers or without, but take a minute.
    agents = ("DashboardAgent", "RuntimeEnvAgent")
    below = [pid for pid in descendants(run.process.pid) if not _command(pid).endswith(agents)]
    assert {said["pid"], said["status"]["pid"], said["status"]["template"]} <= set(below)
    run.process.kill()
    _until(lambda: not any(map(alive, below)), within_s=20.0, what="not everything ended")
    _until(lambda: not (Path(said["folder"]) / "f").exists(), within_s=5.0, what="the folder is left")
    shutil.rmtree(said["folder"], ignore_errors=True)


def test_an_ordered_end_leaves_nothing(script: Callable[..., Script]) -> None:
    """SUP-8: after `shutdown` no process, no folder and no announcement is left."""
    run = script("""
session = start()
mode = pathlib.Path(os.environ["DATA_DIR"], "forking.json").stat().st_mode & 0o777
tell(**facts(), status=session.forking.status(), folder=str(session.temp_dir), mode=mode)
session.shutdown()
tell(done=True)
sys.stdin.read()
""")
    said = run.heard()
    assert said["mode"] == 0o600
    assert run.heard()["done"]
    assert not alive(said["status"]["pid"])
    assert not alive(said["status"]["template"])
    assert not Path(said["folder"]).exists()
    assert not (run.data_dir / "forking.json").exists()


def test_limits_and_ends_are_those_of_a_cold_worker(script: Callable[..., Script], tmp_path: Path) -> None:
    """SUP-8: Ray raises the number of open files when it starts, which is after our host: a forked worker may open as
    many as a cold one. And it ends as an interpreter does: Ray takes its leave of the raylet there."""
    mark = tmp_path / "ended"
    run = script(f"""
import resource
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))
session = start()
from tests.ray.forking_for_tests import limits_of
kept = looker()
said = facts(kept)
raylet = next(pid for pid, name in session.servers.items() if name == "raylet")
kept.leave_a_mark.remote({str(mark)!r})
mark = pathlib.Path({str(mark)!r})
deadline = time.monotonic() + 20
while not mark.exists() and time.monotonic() < deadline:
    time.sleep(0.05)
tell(birth=said["birth"], limits=said["limits"], raylet=limits_of(raylet), hard=hard, marked=mark.exists())
session.shutdown()
""")
    said = run.heard()
    assert said["birth"] == "forked"
    assert said["limits"] == said["raylet"]
    assert said["limits"]["RLIMIT_NOFILE"][0] > 1024 or said["hard"] <= 1024
    assert said["marked"]


@pytest.mark.prove
def test_a_folder_that_was_removed_costs_no_worker(script: Callable[..., Script]) -> None:
    """SUP-8: /tmp cleaned under it: workers start cold (but one that waited), and soon they are forked again."""
    run = script("""
import shutil
session = start()
first = facts()["birth"]
shutil.rmtree(session.temp_dir / "f")
meanwhile = [facts()["birth"] for _ in range(4)]
deadline = time.monotonic() + 60
while True:
    assert time.monotonic() < deadline
    try:
        if session.forking.status()["template"]:
            break
    except OSError:
        pass
    time.sleep(0.1)
tell(first=first, meanwhile=meanwhile, after=[facts()["birth"] for _ in range(6)])
session.shutdown()
""")
    said = run.heard()
    assert said["first"] == "forked"
    assert "cold" in said["meanwhile"]
    assert "forked" in said["after"]


def _copied(folder: Path) -> tuple[Path, Path]:
    """Copy the program so that its code can change; return it and a module `MARK = 1` that everybody imports."""
    code = folder / "code"
    for package in ("actors", "api", "protocols", "storage", "supervisors"):
        shutil.copytree(ROOT / package, code / package)
    (code / "tests" / "ray").mkdir(parents=True)
    shutil.copy(ROOT / "tests" / "ray" / "forking_for_tests.py", code / "tests" / "ray")
    module = code / "actors" / "vocabulary" / "marked.py"
    module.write_text("MARK = 1\n")
    room = code / "actors" / "vocabulary" / "__init__.py"
    room.write_text(room.read_text() + "\nfrom actors.vocabulary.marked import MARK as MARK\n")
    return code, module


def test_a_reload_brings_the_code_that_is_on_disk(script: Callable[..., Script], tmp_path: Path) -> None:
    """SUP-8: changed code reaches new workers by a reload, not before, and those that run keep theirs; broken code
    is refused and the former serves on."""
    code, _ = _copied(tmp_path)
    run = script(
        """
def mark(handle=None):
    handle = handle or looker()
    return handle, ray.get(handle.mark.remote(), timeout=60)

module = pathlib.Path(supervisors.__path__[0]).parent / "actors" / "vocabulary" / "marked.py"
session = start()
first, one = mark()
module.write_text("MARK = 2\\n# longer\\n")
_, still_one = mark()
session.forking.reload()
_, two = mark()
_, first_again = mark(first)
module.write_text("this is no Python\\n")
broken = session.forking.reload()
_, still_two = mark()
tell(one=one, still_one=still_one, two=two, first_again=first_again, why=broken["why"], still_two=still_two)
session.shutdown()
""",
        code=code,
    )
    said = run.heard()
    assert said["one"] == 1
    assert said["still_one"] == 1
    assert said["two"] == 2
    assert said["first_again"] == 1
    assert "SyntaxError" in said["why"]
    assert said["still_two"] == 2


@pytest.mark.parametrize(
    "how",
    ["setting", *(pytest.param(each, marks=pytest.mark.prove) for each in ("version", "launcher", "host"))],
)
def test_where_workers_cannot_be_forked_they_start_cold(script: Callable[..., Script], how: str) -> None:
    """SUP-8: switched off, another Ray, no launcher, no host: everything runs, one line of the log says why."""
    spoil = {
        "setting": "",
        "version": "from supervisors.forking import guard; guard.RAY_VERSION = '1.2.3'",
        "launcher": "from supervisors.forking import service; service._CHECK_WITHIN_S = 0.0001",
        "host": "from supervisors.forking import service; service._LISTENING_WITHIN_S = 0.0",
    }[how]
    run = script(f"""
{spoil}
import msgspec
from actors.vocabulary.settings import RuntimeSettings
settings = Settings(data_dir=os.environ["DATA_DIR"], runtime=RuntimeSettings(forked_workers={how != "setting"}))
session = ray_session.connect(settings)
tell(**facts(), forking=session.forking is not None)
session.shutdown()
tell(done=True)
""")
    said = run.heard()
    assert (said["birth"], said["forking"]) == ("cold", False)
    assert run.heard()["done"]
    (line,) = [each for each in run.log() if each["event"] == "forked_workers_off"]
    wanted = {"setting": "is false", "version": "1.2.3", "launcher": "launcher", "host": "does not listen"}[
        how
    ]
    assert wanted in line["why"]
    assert line["why"].endswith("workers start cold")
    assert not (run.data_dir / "forking.json").exists()


_SECOND_NODE = """
import signal, subprocess
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
session = start()
calejo = str(pathlib.Path(sys.executable).with_name("calejo"))
own = pathlib.Path(os.environ["DATA_DIR"]) / "node"
node = subprocess.Popen(
    [calejo, "node", "start", "--address", session.address, "--data-dir", str(own), "--", "--num-cpus", "1"],
    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
)
def living():
    return [each["NodeID"] for each in ray.nodes() if each["Alive"]]
deadline = time.monotonic() + 60
while len(living()) < 2:
    assert time.monotonic() < deadline and node.poll() is None
    time.sleep(0.1)
(other,) = set(living()) - {ray.get_runtime_context().get_node_id()}
there = NodeAffinitySchedulingStrategy(other, soft=False)
options = {"num_cpus": 0, "scheduling_strategy": there}
seen = [facts(ray.remote(**options)(Looker).remote())["birth"] for _ in range(4)]
here = facts()["birth"]
status = json.loads(subprocess.run(
    [calejo, "node", "status", "--data-dir", str(own), "--format", "json"],
    capture_output=True, text=True, check=True).stdout)
reloaded = subprocess.run([calejo, "node", "reload", "--data-dir", str(own)], capture_output=True).returncode
node.send_signal(getattr(signal, os.environ["END"]))
code = node.wait(30)
after = subprocess.run([calejo, "node", "status", "--data-dir", str(own)], capture_output=True).returncode
tell(seen=seen, here=here, status=status, code=code, reloaded=reloaded, after=after, left=sorted(os.listdir(own)))
session.shutdown()
"""


def _judge_second_node(said: dict[str, Any]) -> None:
    # A worker that Ray started ahead, before the template was loaded, waits for it: all are forked.
    assert said["seen"] == ["forked"] * 4
    assert said["here"] == "forked"
    assert said["status"][0]["of"] == "node"
    assert said["status"][0]["forked"] >= 4
    assert said["status"][0]["cold"] == {}
    assert said["reloaded"] == 0
    assert said["code"] == 0, "asked to end"
    assert said["after"] == 3, "not running"
    assert said["left"] == ["certs", "logs"]


@pytest.mark.parametrize("end", ["SIGINT", pytest.param("SIGHUP", marks=pytest.mark.prove)])
def test_a_joined_node_forks_its_own_workers(script: Callable[..., Script], end: str) -> None:
    """SUP-8: `calejo node start` with Ray's token: its host, status, reload and end."""
    _judge_second_node(script(_SECOND_NODE, END=end).heard())


@pytest.fixture
def certificates() -> Iterator[dict[str, str]]:
    """Return the variables of Ray's TLS, with a certificate authority of our own."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.x509.oid import NameOID

    folder = Path(tempfile.mkdtemp(prefix="calejo-tls-"))
    now = dt.datetime.now(dt.UTC)  # noqa: TID251

    def signed(name: str, issuer: Any, issuer_key: Any, key: Any, *, ca: bool, addresses: list[str]) -> Any:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        names: list[x509.GeneralName] = [x509.DNSName("localhost")]
        names += [x509.IPAddress(ipaddress.ip_address(each)) for each in addresses]
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer or subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=1))
            .not_valid_after(now + dt.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .sign(issuer_key, hashes.SHA256())
        )

    from ray._private.services import get_node_ip_address

    ca_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    ca = signed("Calejo test CA", None, ca_key, ca_key, ca=True, addresses=[])
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    own = signed(
        "localhost",
        ca.subject,
        ca_key,
        key,
        ca=False,
        addresses=["127.0.0.1", get_node_ip_address()],  # type: ignore[no-untyped-call]
    )
    pem = serialization.Encoding.PEM
    files = {
        "RAY_TLS_CA_CERT": ca.public_bytes(pem),
        "RAY_TLS_SERVER_CERT": own.public_bytes(pem),
        "RAY_TLS_SERVER_KEY": key.private_bytes(
            pem, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        ),
    }
    variables = {"RAY_USE_TLS": "1"}
    for name, content in files.items():
        (folder / name).write_bytes(content)
        variables[name] = str(folder / name)
    yield variables
    shutil.rmtree(folder)


@pytest.mark.prove
def test_with_tls_everything_is_forked_all_the_same(
    script: Callable[..., Script], certificates: dict[str, str]
) -> None:
    """SUP-8: Ray's TLS and token on a cluster of two nodes: the variables reach the forked workers."""
    _judge_second_node(script(_SECOND_NODE, END="SIGTERM", **certificates).heard())


_MANY_KILLS = """
import asyncio, signal, statistics
from ray.exceptions import RayActorError
from supervisors.process import alive, descendants
from tests.ray.forking_for_tests import sockets_of, threads_of, zombies_below

KILLS, LIVING = int(os.environ["KILLS"]), 6
module = pathlib.Path(supervisors.__path__[0]).parent / "actors" / "vocabulary" / "marked.py"
session = start()
forking = session.forking

def open_files(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))

def settled():
    deadline = time.monotonic() + 60
    while True:
        try:
            status = forking.status()
            if status["template"] and threads_of(status["template"]) == 1:
                return status
        except (OSError, FileNotFoundError):
            pass
        assert time.monotonic() < deadline
        time.sleep(0.02)

def census():
    status = settled()
    deadline = time.monotonic() + 60
    while True:
        below = [pid for pid in descendants(os.getpid()) if alive(pid)]
        zombies = zombies_below({os.getpid(), status["pid"], status["template"], *below})
        folder = sorted(os.listdir(session.temp_dir / "f"))
        idle = sum(b"ray::IDLE" in open(f"/proc/{pid}/cmdline", "rb").read() for pid in below if alive(pid))
        counts = {
            "processes": len(below) - idle, "zombies": len(zombies), "folder": folder,
            "host": open_files(status["pid"]), "template": open_files(status["template"]),
        }
        if not zombies or time.monotonic() > deadline:
            return counts, open_files(os.getpid())
        time.sleep(0.1)

actors = [looker() for _ in range(LIVING)]
births = [ray.get(each.facts.remote(), timeout=60)["birth"] for each in actors]
drawn, took, cold_took, marks = [], [], [], []
drawn += ray.get([each.draws.remote() for each in actors], timeout=60)
before, files_before = census()
for number in range(KILLS):
    at = number % LIVING
    pid = ray.get(actors[at].pid.remote(), timeout=60)
    notice = actors[at].joined.remote()
    spoiled = ""
    if number == KILLS // 2:
        module.write_text("MARK = 2\\n# longer\\n")
        assert not forking.reload()["why"]
    elif number % 25 == 12:
        spoiled = "host" if number % 50 == 12 and number > 50 else "stopped" if number % 50 == 37 else "template"
        status = settled()
        victim, signal_ = {
            "template": (status["template"], signal.SIGKILL),
            "stopped": (status["template"], signal.SIGSTOP),
            "host": (status["pid"], signal.SIGKILL),
        }[spoiled]
        os.kill(victim, signal_)
    began = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    try:
        ray.get(notice, timeout=60)
    except RayActorError:
        pass
    actors[at] = looker()
    ray.get(actors[at].pid.remote(), timeout=60)
    after_s = time.monotonic() - began
    facts_ = ray.get(actors[at].facts.remote(), timeout=60)
    (took if facts_["birth"] == "forked" else cold_took).append(after_s)
    births.append(facts_["birth"])
    drawn.append(ray.get(actors[at].draws.remote(), timeout=60))
    marks.append((number, facts_["birth"], ray.get(actors[at].mark.remote(), timeout=60)))
after, files_after = census()
equal = {source: len(drawn) - len({each[source] for each in drawn}) for source in drawn[0]}
took.sort()
cold_took.sort()
tell(
    before=before, after=after, equal=equal, files=[files_before, files_after],
    births={each: births.count(each) for each in set(births)},
    p50_s=took[len(took) // 2], p95_s=took[int(len(took) * 0.95)], max_s=took[-1], cold_s=cold_took,
    stale=[each for each in marks if each[0] > KILLS // 2 and each[2] != 2], status=settled(),
)
session.shutdown()
"""


@pytest.mark.prove
@pytest.mark.timeout(1200)
def test_two_hundred_kills_leave_nothing_behind(script: Callable[..., Script], tmp_path: Path) -> None:
    """SUP-8: 200 kills in a row, template and host killed and stopped among them, the code reloaded half-way: no
    descriptor, process, zombie or socket more than before, no two workers that draw the same."""
    code, _ = _copied(tmp_path)
    said = script(_MANY_KILLS, code=code, KILLS="200").heard()
    print(json.dumps(said, indent=1))
    assert said["after"] == said["before"]
    assert set(said["equal"].values()) == {0}
    assert said["stale"] == []
    # Those that die while a new template loads start cold: eight times, for some seconds on a busy machine.
    assert said["births"]["forked"] >= 140
    # Ray's client keeps some connections of its own for a while.
    assert said["files"][1] <= said["files"][0] + 20
