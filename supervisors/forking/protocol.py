"""What launcher, host and template say to each other, and the bounds of it. Pure; imports next to nothing.

The launcher runs once for every worker, so everything that it imports is paid for at every start: no `typing`, no
`dataclasses`, no `socket` here (12 ms instead of 6).
"""

from __future__ import annotations

from _operator import _compare_digest
from struct import Struct
from struct import error as StructError  # noqa: N812  an exception is named as one

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Final

# Another number with every change of what is said: after an upgrade on disk the launcher is newer than the host that
# runs, which then refuses it, and it starts cold.
MAGIC: Final = b"CFW2"
TOKEN_BYTES: Final = 32
# A worker's environment and command line together are some 6 KiB; the kernel's own limit for both is 2 MiB.
BODY_BYTES_MAX: Final = 262_144
STRINGS_MAX: Final = 4_096
# From the first byte to the last, also of a peer that sends slowly. Launchers send everything at once.
REQUEST_WITHIN_S: Final = 0.5
# How many peers may be in the middle of a request; more are refused at once.
PEERS_MAX: Final = 64
# While the first template of a node still loads, workers wait for it: that is sooner than starting cold beside it.
WARM_WAIT_S: Final = 8.0
# What the launcher waits for the first word: longer than a host needs that has to give up a hanging template first,
# much shorter than a pump can do without its process when the host itself hangs.
FIRST_WORD_WITHIN_S: Final = 3.0
# And for the forked process after it was told to wait. Above WARM_WAIT_S: the host answers first.
LAUNCH_WITHIN_S: Final = 10.0
# A template that has not forked within this has hung. Forking takes some 5 ms.
FORK_WITHIN_S: Final = 1.0
assert FIRST_WORD_WITHIN_S > 2.0 * FORK_WITHIN_S, "it may be told to send and to answer"
assert LAUNCH_WITHIN_S > WARM_WAIT_S + FORK_WITHIN_S, "the host gives up before the launcher does"

# What a request is for.
FORK: Final = 1
RELOAD: Final = 2
STATUS: Final = 3
KINDS: Final = (FORK, RELOAD, STATUS)

# Answers on a launcher's connection: the host says WAIT or COLD; the forked process itself says HERE and its pid, and
# waits for GO.
HERE: Final = Struct("!cI")
HERE_MARK: Final = b"P"
WAIT_MARK: Final = b"W"
COLD_MARK: Final = b"C"
GO: Final = b"G"

HEAD: Final = Struct("!4s32sBI")  # magic, token, kind, bytes of body
_BIRTH: Final = Struct(
    "!bhHBQHHH"
)  # nice, oom score, umask, own group, signal mask, counts of argv, cwd, environment


class MalformedError(ValueError):
    """Bytes that are no request of ours; the text says why and quotes none of them."""


class Request:
    """A worker to be: its command line (without the interpreter), folder, environment and how the raylet made it."""

    __slots__ = ("argv", "cwd", "environment", "nice", "oom_score_adj", "own_group", "signal_mask", "umask")

    def __init__(
        self,
        *,
        argv: list[bytes],
        cwd: bytes,
        environment: dict[bytes, bytes],
        nice: int = 0,
        oom_score_adj: int = 0,
        umask: int = 0o022,
        own_group: bool = True,
        signal_mask: int = 0,
    ) -> None:
        self.argv = argv
        self.cwd = cwd
        self.environment = environment
        self.nice = nice
        self.oom_score_adj = oom_score_adj
        self.umask = umask
        self.own_group = own_group
        self.signal_mask = signal_mask

    def __eq__(self, other: object) -> bool:
        """Whether both ask for the same."""
        return isinstance(other, Request) and all(
            getattr(self, name) == getattr(other, name) for name in self.__slots__
        )

    __hash__ = None  # type: ignore[assignment]  # holds a dict


def mask_of(signals: Iterable[int]) -> int:
    """Return a set of signals as bits (signal 1 is bit 0)."""
    return sum(1 << (int(number) - 1) for number in signals)


def signals_of(mask: int) -> set[int]:
    """Return the signals of a mask."""
    return {bit + 1 for bit in range(64) if mask >> bit & 1}


def framed(token: bytes, kind: int, body: bytes = b"") -> bytes:
    """Return the bytes to send.

    Raises:
        MalformedError: the body is over its bound; the caller starts cold.

    """
    if len(body) > BODY_BYTES_MAX:
        raise MalformedError(f"{len(body)} bytes, at most {BODY_BYTES_MAX}")
    return HEAD.pack(MAGIC, token, kind, len(body)) + body


def head_of(data: bytes, token: bytes) -> tuple[int, int]:
    """Return kind and size of the body that follows.

    Raises:
        MalformedError: no magic, a wrong token, an unknown kind or a body over its bound.

    """
    magic, given, kind, size = HEAD.unpack_from(data)
    if magic != MAGIC:
        raise MalformedError("no request of this version")
    if not _compare_digest(given, token):
        raise MalformedError("wrong token")
    if kind not in KINDS:
        raise MalformedError(f"unknown kind {kind}")
    if size > BODY_BYTES_MAX or (kind != FORK and size):
        raise MalformedError(f"a body of {size} bytes, at most {BODY_BYTES_MAX}")
    return kind, size


def encode(request: Request) -> bytes:
    """Return a request's body."""
    environment = [name + b"=" + value for name, value in request.environment.items()]
    strings = [*request.argv, request.cwd, *environment]
    birth = _BIRTH.pack(
        request.nice,
        request.oom_score_adj,
        request.umask,
        request.own_group,
        request.signal_mask,
        len(request.argv),
        1,
        len(environment),
    )
    return birth + b"".join(text + b"\0" for text in strings)


def decode(body: bytes) -> Request:
    """Return what a body asks for.

    Raises:
        MalformedError: it is not whole, or has more strings than anybody needs.

    """
    try:
        nice, oom, umask, own_group, mask, argc, one, envc = _BIRTH.unpack_from(body)
    except StructError:
        raise MalformedError("too short") from None
    if argc + one + envc > STRINGS_MAX or one != 1 or not argc:
        raise MalformedError(f"{argc} arguments, {envc} variables")
    strings = body[_BIRTH.size :].split(b"\0")
    if len(strings) != argc + 1 + envc + 1 or strings.pop():
        raise MalformedError("not as many strings as announced")
    environment: dict[bytes, bytes] = {}
    for text in strings[argc + 1 :]:
        name, equals, value = text.partition(b"=")
        if not equals or not name or name in environment:
            raise MalformedError("a variable without name or twice")
        environment[name] = value
    return Request(
        argv=strings[:argc],
        cwd=strings[argc],
        environment=environment,
        nice=nice,
        oom_score_adj=oom,
        umask=umask,
        own_group=bool(own_group),
        signal_mask=mask,
    )


# Read once, by the loader, by C libraries or by modules at their import: a fork cannot give another value to them.
_READ_ONCE: Final = (
    b"RAY_",
    b"PYTHON",
    b"LD_",
    b"MALLOC_",
    b"GLIBC_",
    b"GRPC_",
    b"OMP_",
    b"OPENBLAS_",
    b"TZ",
    b"LC_",
)
# The worker's job: the template has none, and is therefore good for every job (see guard.py).
_PER_WORKER: Final = frozenset({b"RAY_JOB_ID"})


def unfit(request: Request, *, worker_script: bytes, template_environment: Mapping[bytes, bytes]) -> str:
    """Return why this template cannot become that worker; '' when it can."""
    if request.argv[0] != worker_script:
        return "it is not Ray's default worker"
    mine = {name: value for name, value in template_environment.items() if name.startswith(_READ_ONCE)}
    wanted = {name: value for name, value in request.environment.items() if name.startswith(_READ_ONCE)}
    differing = sorted(
        name
        for name in mine.keys() | wanted.keys()
        if name not in _PER_WORKER and mine.get(name) != wanted.get(name)
    )
    if differing:
        return "its environment differs in " + ", ".join(
            name.decode(errors="replace") for name in differing[:5]
        )
    if not any(argument.startswith(b"--worker-id=") for argument in request.argv):
        return "it has no worker id"
    return ""
