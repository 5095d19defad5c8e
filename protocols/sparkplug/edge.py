"""The edge node's session: which message is due, with which number, and what of it is new; pure, no clock, no wire.

Values are kept latest-wins, so nothing grows while a broker is slow; what must not be lost meanwhile is the
backfill's matter (`protocols.sparkplug.backfill`). Times are ms of UTC, as on the wire.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

import msgspec

from actors.vocabulary import Quality
from protocols.sparkplug.names import (
    BD_SEQ,
    NODE,
    REBIRTH,
    Definition,
    Node,
    Verb,
    quality_code,
)
from protocols.sparkplug.schema import DataType, Metric, Payload, Property, Scalar, encode

NUMBERS: Final = 256
"""`seq` and `bdSeq` count 0 to 255 and begin anew."""
TOLD_MAX: Final = 256
"""Messages of their own that may wait to be sent; of more the oldest go."""


class Outgoing(msgspec.Struct, frozen=True, kw_only=True):
    """One message to publish. Only a death is worth a second delivery; nothing is ever retained."""

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False


class Sample(msgspec.Struct, frozen=True, array_like=True):
    """A metric's value at a time (ms UTC); None: it never had one."""

    path: str
    value: Scalar | None
    quality: Quality
    at_ms: int


class EdgeNode:
    """Holds what the node and its devices show, and makes its messages in the order in which they must be sent.

    The numbering stands or falls with the order: whoever takes a message from one of the iterators sends it before it
    asks for the next.
    """

    def __init__(self, node: Node) -> None:
        self.node = node
        self._definitions: dict[str, Definition] = {}
        self._by_device: dict[str, dict[str, Definition]] = {NODE: {}}
        self._aliases: dict[str, int] = {BD_SEQ: 1}
        self._samples: dict[str, Sample] = {}
        self._dirty: dict[str, dict[str, None]] = {}
        self._births_due: dict[str, None] = {}
        self._deaths_due: dict[str, None] = {}
        self._living: set[str] = set()
        self._told: deque[tuple[str, tuple[Sample, ...]]] = deque(maxlen=TOLD_MAX)
        self._seq = 0
        self._bd_seq: int | None = None
        self.born = False
        """Whether the node's birth has been made in this session."""
        self.rebirth_due = False
        self.generation = 0
        """Counts the configurations and births: history that was begun under another one has to be handed in again."""

    # ----------------------------------------------------------------- what is shown

    @property
    def definitions(self) -> Mapping[str, Definition]:
        """Every metric by path."""
        return self._definitions

    def of_device(self, device: str) -> Mapping[str, Definition] | None:
        """Return a device's metrics by path; None: there is no such device."""
        return self._by_device.get(device)

    def alias_of(self, path: str) -> int:
        """Return a metric's number, its own as long as this process lives."""
        return self._aliases[path]

    def configure(self, definitions: Mapping[str, Definition]) -> None:
        """Show exactly these from now on; devices that came, went or changed are born or die, the others go on."""
        self.generation += 1
        before, self._definitions = self._by_device, dict(definitions)
        self._by_device = {NODE: {}}
        for path, definition in definitions.items():
            self._by_device.setdefault(definition.device, {})[path] = definition
            self._aliases.setdefault(path, len(self._aliases) + 1)
        self._samples = {path: held for path, held in self._samples.items() if path in definitions}
        for device in before.keys() - self._by_device.keys():
            self._dirty.pop(device, None)
            self._births_due.pop(device, None)
            if device in self._living:
                self._deaths_due[device] = None
        for device, metrics in self._by_device.items():
            if before.get(device) == metrics:
                continue
            if device == NODE:
                # A node's metrics change by a birth of the whole, and with it of all its devices.
                self.rebirth_due = self.rebirth_due or self.born
            else:
                self._births_due[device] = None

    def take(self, samples: Iterable[Sample]) -> list[Sample]:
        """Take values of metrics that exist; return those that say something new (report by exception).

        Raises:
            KeyError: an unknown path; our bug.

        """
        news = []
        for sample in samples:
            definition = self._definitions[sample.path]
            held = self._samples.get(sample.path)
            if held is not None and (held.value, held.quality) == (sample.value, sample.quality):
                continue
            self._samples[sample.path] = sample
            news.append(sample)
            self._dirty.setdefault(definition.device, {})[sample.path] = None
        return news

    def tell(self, samples: Sequence[Sample]) -> None:
        """Take values of one device that belong together: they are shown, and within a session sent in one message of
        their own, whatever comes after them.
        """
        self.take(samples)
        if self.born and samples:
            self._told.append((self._definitions[samples[0].path].device, tuple(samples)))

    @property
    def births_due(self) -> bool:
        """Whether a device, or the whole node, must be born before anything else is said of it."""
        return self.rebirth_due or bool(self._births_due) or not self.born

    def held(self, path: str) -> Sample | None:
        """Return what a metric shows; None: it never had a value."""
        return self._samples.get(path)

    # ----------------------------------------------------------------- a session's messages

    def connect(self, bd_seq: int, *, now_ms: int) -> Outgoing:
        """Begin a session that is not born yet; return its death, the will of the CONNECT to come."""
        self._bd_seq, self._seq = bd_seq, 0
        self.disconnected()
        return self.death(now_ms=now_ms)

    def disconnected(self) -> None:
        """Forget the session: every device is to be born again."""
        self.born = self.rebirth_due = False
        self._living.clear()
        self._deaths_due.clear()
        self._told.clear()

    def death(self, *, now_ms: int) -> Outgoing:
        """Return the NDEATH of this session: its bdSeq and nothing else, without a sequence number."""
        payload = Payload(timestamp_ms=now_ms, metrics=(self._bd_metric(now_ms),))
        return Outgoing(topic=self.node.topic(Verb.NDEATH), payload=encode(payload), qos=1)

    def births(self, *, now_ms: int) -> Iterator[Outgoing]:
        """Yield NBIRTH and the DBIRTH of every device: at the start of a session, and whenever a host asks."""
        self.born, self.rebirth_due, self._seq = True, False, 0
        self.generation += 1
        # Those that went since the last birth are told by the NBIRTH itself: it ends all that was before.
        self._living.clear()
        self._deaths_due.clear()
        self._dirty.pop(NODE, None)
        own = (
            msgspec.structs.replace(self._bd_metric(now_ms), alias=self._aliases[BD_SEQ]),
            Metric(name=REBIRTH, datatype=DataType.BOOLEAN, value=False, timestamp_ms=now_ms),
        )
        metrics = (*own, *self._born_metrics(NODE, now_ms))
        yield self._outgoing(Verb.NBIRTH, NODE, metrics, now_ms)
        self._births_due = dict.fromkeys(device for device in self._by_device if device != NODE)
        yield from self._due_births(now_ms)

    def changes(self, *, now_ms: int) -> Iterator[Outgoing]:
        """Yield what is due in a session that is born: deaths, births, then what changed, a message per device."""
        assert self.born, "nothing is said before the birth"
        while self._deaths_due:
            device = next(iter(self._deaths_due))
            del self._deaths_due[device]
            self._living.discard(device)
            yield self._outgoing(Verb.DDEATH, device, (), now_ms)
        yield from self._due_births(now_ms)
        yield from self._own_messages(now_ms)
        while self._dirty:
            device = next(iter(self._dirty))
            paths = self._dirty.pop(device)
            verb = Verb.DDATA if device else Verb.NDATA
            samples = sorted((self._samples[path] for path in paths), key=lambda held: held.at_ms)
            metrics = tuple(self._data_metric(held) for held in samples)
            yield self._outgoing(verb, device, metrics, now_ms)

    def _own_messages(self, now_ms: int) -> Iterator[Outgoing]:
        while self._told:
            device, samples = self._told.popleft()
            told = [each for each in samples if each.path in self._definitions]
            if not told or (device and device not in self._living):
                continue
            dirty = self._dirty.get(device, {})
            for each in told:
                # What changed again since is told by a later message.
                if self._samples.get(each.path) == each:
                    dirty.pop(each.path, None)
            if not dirty:
                self._dirty.pop(device, None)
            verb = Verb.DDATA if device else Verb.NDATA
            yield self._outgoing(verb, device, tuple(self._data_metric(each) for each in told), now_ms)

    def history(self, samples: Iterable[Sample], *, now_ms: int) -> Iterator[Outgoing]:
        """Yield what was kept while nobody listened, a message per run of one device, but for what is gone."""
        assert self.born, "nothing is said before the birth"
        run: list[Metric] = []
        of: str | None = None
        for sample in samples:
            definition = self._definitions.get(sample.path)
            if definition is None or (definition.device and definition.device not in self._living):
                continue
            if definition.device in self._births_due:
                continue  # its numbers mean nothing to a host yet; whoever asked hands it in again
            if of not in {None, definition.device}:
                yield self._history_message(of, run, now_ms)
                run = []
            of = definition.device
            run.append(self._data_metric(sample, is_historical=True))
        if run:
            yield self._history_message(of, run, now_ms)

    # ----------------------------------------------------------------- one message

    def _history_message(self, device: str | None, metrics: list[Metric], now_ms: int) -> Outgoing:
        verb = Verb.DDATA if device else Verb.NDATA
        return self._outgoing(verb, device or NODE, tuple(metrics), now_ms)

    def _due_births(self, now_ms: int) -> Iterator[Outgoing]:
        while self._births_due:
            device = next(iter(self._births_due))
            del self._births_due[device]
            self._dirty.pop(device, None)
            self._living.add(device)
            yield self._outgoing(Verb.DBIRTH, device, self._born_metrics(device, now_ms), now_ms)

    def _born_metrics(self, device: str, now_ms: int) -> tuple[Metric, ...]:
        return tuple(self._born_metric(definition, now_ms) for definition in self._by_device[device].values())

    def _born_metric(self, definition: Definition, now_ms: int) -> Metric:
        held = self._samples.get(definition.path)
        quality = Quality.BAD if held is None else held.quality
        return Metric(
            name=definition.name,
            alias=self._aliases[definition.path],
            timestamp_ms=now_ms if held is None else held.at_ms,
            datatype=definition.datatype,
            value=None if held is None else held.value,
            properties=(_quality(quality), *definition.properties),
        )

    def _data_metric(self, held: Sample, *, is_historical: bool = False) -> Metric:
        return Metric(
            alias=self._aliases[held.path],
            timestamp_ms=held.at_ms,
            datatype=self._definitions[held.path].datatype,
            value=held.value,
            is_historical=is_historical,
            properties=(_quality(held.quality),),
        )

    def _bd_metric(self, now_ms: int) -> Metric:
        assert self._bd_seq is not None, "a session has begun"
        return Metric(name=BD_SEQ, datatype=DataType.INT64, value=self._bd_seq, timestamp_ms=now_ms)

    def _outgoing(self, verb: Verb, device: str, metrics: tuple[Metric, ...], now_ms: int) -> Outgoing:
        payload = Payload(timestamp_ms=now_ms, seq=self._seq, metrics=metrics)
        self._seq = (self._seq + 1) % NUMBERS
        return Outgoing(topic=self.node.topic(verb, device), payload=encode(payload))


def _quality(quality: Quality) -> Property:
    return Property("Quality", DataType.INT32, quality_code(quality))
