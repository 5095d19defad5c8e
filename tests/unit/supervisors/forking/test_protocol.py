"""Frames between launcher and host: whole requests survive, everything else is refused before it costs anything."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisors.forking import protocol
from supervisors.forking.protocol import MalformedError, Request, decode, encode, framed, head_of, unfit

TOKEN = bytes(range(32))
_TEXT = st.binary(max_size=40).map(lambda raw: raw.replace(b"\0", b""))
_NAME = _TEXT.map(lambda raw: raw.replace(b"=", b"") or b"N")


@given(
    argv=st.lists(_TEXT, min_size=1, max_size=6),
    cwd=_TEXT,
    environment=st.dictionaries(_NAME, _TEXT, max_size=6),
    nice=st.integers(-20, 19),
    oom=st.integers(-1000, 1000),
    mask=st.integers(0, 2**64 - 1),
)
def test_a_request_survives_the_wire(
    argv: list[bytes], cwd: bytes, environment: dict[bytes, bytes], nice: int, oom: int, mask: int
) -> None:
    """SUP-8: a forked worker is told exactly what the raylet told its launcher, whatever the bytes."""
    request = Request(
        argv=argv, cwd=cwd, environment=environment, nice=nice, oom_score_adj=oom, signal_mask=mask
    )
    frame = framed(TOKEN, protocol.FORK, encode(request))
    kind, size = head_of(frame, TOKEN)
    assert kind == protocol.FORK
    assert decode(frame[protocol.HEAD.size :]) == request
    assert size == len(frame) - protocol.HEAD.size
    assert protocol.mask_of(protocol.signals_of(mask)) == mask


@given(st.binary(max_size=200))
def test_no_bytes_are_a_request_by_accident(raw: bytes) -> None:
    """SUP-8: arbitrary bytes are refused with a reason, never with another error."""
    with contextlib.suppress(MalformedError):
        decode(raw)


@pytest.mark.parametrize(
    ("frame", "why"),
    [
        (protocol.HEAD.pack(b"HTTP", TOKEN, protocol.FORK, 0), "no request of this version"),
        (protocol.HEAD.pack(protocol.MAGIC, bytes(32), protocol.FORK, 0), "wrong token"),
        (protocol.HEAD.pack(protocol.MAGIC, TOKEN, 9, 0), "unknown kind"),
        (protocol.HEAD.pack(protocol.MAGIC, TOKEN, protocol.FORK, protocol.BODY_BYTES_MAX + 1), "a body of"),
        (protocol.HEAD.pack(protocol.MAGIC, TOKEN, protocol.STATUS, 1), "a body of"),
    ],
)
def test_a_head_that_is_not_ours_is_refused(frame: bytes, why: str) -> None:
    """SUP-8: version, token, kind and size are judged before a byte of the body is read."""
    with pytest.raises(MalformedError, match=why):
        head_of(frame, TOKEN)


def test_too_much_is_refused_on_both_sides() -> None:
    """SUP-8: a launcher with a huge environment starts cold; more strings than anybody needs are refused."""
    request = Request(argv=[b"x"], cwd=b"/", environment={b"BIG": b"y" * protocol.BODY_BYTES_MAX})
    with pytest.raises(MalformedError, match="at most"):
        framed(TOKEN, protocol.FORK, encode(request))
    many = Request(argv=[b""] * (protocol.STRINGS_MAX + 1), cwd=b"/", environment={})
    with pytest.raises(MalformedError, match="arguments"):
        decode(encode(many))


@pytest.mark.parametrize("cut", [1, 3, 20])
def test_a_cut_body_is_refused(cut: int) -> None:
    """SUP-8: a body that is not whole forks nobody."""
    body = encode(Request(argv=[b"a", b"b"], cwd=b"/", environment={b"A": b"1"}))
    with pytest.raises(MalformedError):
        decode(body[:-cut])


SCRIPT = b"/ray/_private/workers/default_worker.py"
ENVIRONMENT = {b"RAY_JOB_ID": b"ffffffff", b"RAY_X": b"1", b"HOME": b"/root", b"PYTHONPATH": b"/calejo"}


def _worker(**changes: bytes) -> Request:
    environment = {**ENVIRONMENT, b"RAY_JOB_ID": b"01000000"}
    for name, value in changes.items():
        environment[name.encode()] = value
    return Request(argv=[SCRIPT, b"--worker-id=ab"], cwd=b"/", environment=environment)


def _unfit(request: Request) -> str:
    return unfit(request, worker_script=SCRIPT, template_environment=ENVIRONMENT)


def test_a_template_becomes_only_what_it_can_become() -> None:
    """SUP-8: what is read once at the start of a process must be equal; a worker's own job and variables may differ."""
    assert _unfit(_worker()) == ""
    assert _unfit(_worker(HOME=b"/elsewhere", CALEJO_X=b"1")) == ""
    assert "RAY_X" in _unfit(_worker(RAY_X=b"2"))
    assert "RAY_NEW" in _unfit(_worker(RAY_NEW=b"2"))
    assert "PYTHONPATH" in _unfit(_worker(PYTHONPATH=b"/evil"))
    assert "LD_PRELOAD" in _unfit(_worker(LD_PRELOAD=b"/evil.so"))
    without = Request(argv=[SCRIPT], cwd=b"/", environment=dict(ENVIRONMENT))
    assert "worker id" in _unfit(without)
    setup = Request(argv=[b"/ray/setup_worker.py", SCRIPT], cwd=b"/", environment=dict(ENVIRONMENT))
    assert "default worker" in _unfit(setup)
