"""Whose fault an error is: the caller's, a device's or our own (anything else)."""

from __future__ import annotations


class CalejoError(Exception):
    """Root of every error that Calejo raises on purpose; takes positional text only, so that it crosses processes."""


class CallerError(CalejoError):
    """The caller gave something that cannot be done: a 4xx, a Modbus exception code or an OPC UA bad status."""


class InvalidValueError(CallerError):
    """A value is outside what was expected; the text names the value, the place and the expectation."""


class UnknownSubjectError(CallerError):
    """The named pump, station, site, stop or actor does not exist."""


class NotRememberedError(UnknownSubjectError):
    """What is asked about is older than what is kept: it was there, and is gone for good."""


class RefusedError(CallerError):
    """The request is well formed, but the present state or a safety rule forbids it."""


class DeviceError(CalejoError):
    """Something outside our process failed: a disk, a database, a socket, a controller. Raises an alarm."""


class UnavailableError(DeviceError):
    """An actor did not answer within the deadline, is dead, or its mailbox is full."""


class UnansweredError(UnavailableError):
    """What was asked for was sent or begun, and no answer came in time: whether it is done is not known."""
