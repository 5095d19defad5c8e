"""What the handlers share: the tree's answers, stops, the clock and the way records reach storage."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import msgspec

from actors.runtime import Clock
from actors.stores import AuditReader, PointReader, TableReader, TrendReader
from actors.vocabulary import Settings
from actors.vocabulary.records import Record
from api.access.accounts import Accounts
from api.access.desk import AccessDesk
from api.access.logins import Logins
from api.access.rates import Rates
from api.counting import Counted
from api.decisions import Decisions
from api.expiry import CertificateWatch
from api.exporting import Exports
from api.limits import Limits
from api.noting import Noting
from api.questions import Questions
from api.reports.desk import ReportDesk
from api.sources import Sources
from api.stops import Stops
from api.stream.watching import Watching
from api.tag_pages import TagPages
from storage.masking import masked


class Access(NamedTuple):
    """Who asks, who logs in, what becomes of accounts, and how long certificates are good for."""

    desk: AccessDesk
    logins: Logins
    accounts: Accounts
    certificates: CertificateWatch
    rates: Rates


class Readers(NamedTuple):
    """What can be read of the past; None: nothing of that kind."""

    audit: AuditReader | None = None
    tables: TableReader | None = None
    trends: TrendReader | None = None
    points: PointReader | None = None


class Service:
    """Handed to every handler through the application's state."""

    def __init__(
        self,
        *,
        sources: Sources,
        stops: Stops,
        limits: Limits,
        access: Access,
        decisions: Decisions,
        watching: Watching,
        clock: Clock,
        record: Callable[[Iterable[Record]], None],
        settings: Settings,
        readers: Readers | None = None,
    ) -> None:
        self.data_dir = settings.data_dir
        self.sources = sources
        self.stops = stops
        self.limits = limits
        self.access = access
        self.decisions = decisions
        self.watching = watching
        self.clock = clock
        self.audit, self.tables, self.trends, self.points = readers or Readers()
        # What is shown is what may be shown: nothing here holds a secret.
        self.configuration = msgspec.convert(masked(settings), Settings)
        self.counted = Counted()
        self.noting = Noting(record, clock)
        self.exports = Exports(self.noting, clock)
        self.reports = ReportDesk()
        self.questions = Questions()
        self.tags = TagPages()
