"""What REST answers beyond what the tree does, each with its HTTP status."""

from __future__ import annotations

from actors.vocabulary import CallerError, DeviceError


class UnauthenticatedError(CallerError):
    """401: nobody knows who asks. The text says what to do, never which part of a credential was wrong.

    `actor` and `shown`: whose credential it was, and which, where we made it and it counts no more; for the audit log,
    never for the answer.
    """

    def __init__(self, text: str, actor: str = "", shown: str = "") -> None:
        super().__init__(text)
        self.actor = actor
        self.shown = shown


class NotLookedUpError(UnauthenticatedError):
    """401: nobody knows who asks, and so much was tried of late that nobody was looked up for it any more."""


class ForbiddenError(CallerError):
    """403: it is known who asks, and they may not."""


class TooManyError(CallerError):
    """429: try again later."""

    def __init__(self, text: str, retry_after_s: float = 1.0) -> None:
        super().__init__(text, retry_after_s)
        self.text = text
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        return self.text


class ChangedMeanwhileError(CallerError):
    """412: what the client saw is no longer what there is."""


class KeyReusedError(CallerError):
    """422: the key belongs to another command."""


class OutcomeUnknownError(DeviceError):
    """503: a command was begun or sent, and its end is not known. It is no refusal: it may have been carried out."""
