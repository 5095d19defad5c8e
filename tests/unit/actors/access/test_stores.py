"""What is kept of users and requests is kept by something that has every method which is asked for."""

from __future__ import annotations

import inspect

import pytest

from actors.access.requests import RequestStore
from actors.access.store import UserStore
from actors.vocabulary.pki import OwnCertificate, Pki
from storage.opcua_pki import PkiFolder
from storage.requests import DatabaseRequests
from storage.users import DatabaseUsers


@pytest.mark.parametrize(
    ("asked", "kept"), [(UserStore, DatabaseUsers), (RequestStore, DatabaseRequests), (Pki, PkiFolder)]
)
def test_every_method_is_there_with_the_parameters_it_is_asked_with(asked: type, kept: type) -> None:
    """SEC-1, OPC-4: the same names, kinds and order, so that no call fails on its way to the disk."""
    methods = [name for name in vars(asked) if not name.startswith("_")]
    assert methods
    for name in methods:
        wanted = inspect.signature(getattr(asked, name)).parameters.values()
        given = inspect.signature(getattr(kept, name)).parameters.values()
        assert [(one.name, one.kind) for one in given] == [(one.name, one.kind) for one in wanted], name


def test_a_private_key_is_never_printed() -> None:
    """SEC-4: not in a log, not in a traceback."""
    shown = repr(OwnCertificate(certificate=b"public", private_key=b"SECRET"))
    assert shown == "OwnCertificate(6 bytes)"
