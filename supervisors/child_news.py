"""Events about children as messages of a supervisor to itself, so that a shutdown can overtake them. Pure."""

from __future__ import annotations

from actors.messages import ChildNews
from actors.vocabulary import Address
from supervisors.restart_types import Due, Ended, Event, Hung, Started, StartFailed


def news(event: Event) -> ChildNews:
    """Return the mailbox form of an event about one child."""
    match event:
        case Started(address=address, incarnation=incarnation):
            return ChildNews(child=address, incarnation=incarnation, what="started")
        case StartFailed(address=address, incarnation=incarnation, why=why):
            return ChildNews(child=address, incarnation=incarnation, what="start_failed", detail=why)
        case Ended(address=address, incarnation=incarnation, why=why):
            return ChildNews(child=address, incarnation=incarnation, what="died", detail=why)
        case Hung(address=address, incarnation=incarnation, why=why):
            return ChildNews(child=address, incarnation=incarnation, what="hung", detail=why)
        case _:
            raise AssertionError(f"no news about a child: {event!r}")


def event_of(message: ChildNews) -> Event:
    """Return the event that the news is about."""
    address, incarnation, detail = Address(message.child), message.incarnation, message.detail
    match message.what:
        case "started":
            return Started(address=address, incarnation=incarnation)
        case "start_failed":
            return StartFailed(address=address, incarnation=incarnation, why=detail)
        case "died":
            return Ended(address=address, incarnation=incarnation, why=detail)
        case "hung":
            return Hung(address=address, incarnation=incarnation, why=detail)
        case "due":
            return Due(address=address, incarnation=incarnation)
        case _:
            raise AssertionError(f"unknown news {message.what!r}")
