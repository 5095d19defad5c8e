"""Texts that came from outside: what of them every file and database of ours can hold (AUD-1, OPC-5)."""

from __future__ import annotations


def storable(text: str) -> str:
    """Return a text without what no encoder and no database takes: lone surrogates become `?`, NUL U+FFFD.

    A decoder that lets bytes through which are no UTF-8 (surrogateescape) leaves lone surrogates behind.
    """
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8")


def is_storable(text: str) -> bool:
    """Say whether a text can be kept as it is."""
    return text == storable(text)
