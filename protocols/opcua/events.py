"""Events and their filters: which fields a client selects, and for which events it wants to hear (OPC 10000-4, 7.22.3).

Of the operators those that clients send: comparisons, IsNull, InList, Between, And, Or, Not, OfType. What cannot be
evaluated is refused when the filter comes, never guessed at when an event does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias

import msgspec
from asyncua import ua
from asyncua.ua.uaprotocol_auto import EventFilter

from protocols.opcua import limits
from protocols.opcua.ids import status

BASE_EVENT: Final = ua.ObjectIds.BaseEventType
NULL: Final = ua.Variant(None)

_Test: TypeAlias = Callable[["EventData"], bool]
_Value: TypeAlias = Callable[["EventData"], Any]


class EventData(msgspec.Struct, frozen=True):
    """One event. `kinds`: its type and all above it; `heard_at`: the objects at which it can be heard.

    `fields` by browse path, parts joined by `/`; `condition`: the instance it is about, None: it is about none.
    `everywhere`: about the subscription itself, so it passes every filter.
    """

    kinds: frozenset[ua.NodeId]
    heard_at: frozenset[ua.NodeId]
    fields: Mapping[str, ua.Variant]
    condition: ua.NodeId | None = None
    everywhere: bool = False

    def field(self, name: str) -> ua.Variant:
        """Return a field, null if this event has none of that name."""
        return self.fields.get(name, NULL)


class Wanted(msgspec.Struct, frozen=True):
    """A filter that was understood: the fields in order (None: the condition's node id), and the test."""

    selected: tuple[str | None, ...]
    test: _Test

    def select(self, event: EventData) -> list[ua.Variant]:
        """Return the selected fields of an event."""
        return [_condition_of(event) if name is None else event.field(name) for name in self.selected]


class RefusedFilterError(Exception):
    """Carries the status code of a filter that is refused."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def understood(wanted: Any) -> Wanted:
    """Return what a client's event filter asks for.

    Raises:
        RefusedFilterError: it is none, too large, or asks for what we cannot evaluate.

    """
    if not isinstance(wanted, EventFilter):
        raise RefusedFilterError(ua.StatusCodes.BadMonitoredItemFilterUnsupported)
    clauses = wanted.SelectClauses or []
    if not clauses:
        raise RefusedFilterError(ua.StatusCodes.BadEventFilterInvalid)
    elements = wanted.WhereClause.Elements or []
    operands = sum(len(element.FilterOperands or []) for element in elements)
    if (
        len(clauses) > limits.SELECT_CLAUSES_MAX
        or len(elements) > limits.WHERE_ELEMENTS_MAX
        or operands > limits.WHERE_OPERANDS_MAX
    ):
        raise RefusedFilterError(ua.StatusCodes.BadTooManyOperations)
    return Wanted(tuple(_selected(clause) for clause in clauses), _test(elements))


def text(value: str) -> ua.Variant:
    """Return a localised text as a field."""
    return ua.Variant(ua.LocalizedText(value), ua.VariantType.LocalizedText)


def _condition_of(event: EventData) -> ua.Variant:
    return NULL if event.condition is None else ua.Variant(event.condition, ua.VariantType.NodeId)


def _selected(clause: Any) -> str | None:
    path = clause.BrowsePath or []
    if clause.IndexRange:
        raise RefusedFilterError(ua.StatusCodes.BadIndexRangeInvalid)
    if not path:
        if clause.AttributeId != ua.AttributeIds.NodeId:
            raise RefusedFilterError(ua.StatusCodes.BadAttributeIdInvalid)
        return None
    if clause.AttributeId != ua.AttributeIds.Value:
        raise RefusedFilterError(ua.StatusCodes.BadAttributeIdInvalid)
    # A field that no event of ours has, also one of a foreign namespace, comes as null (7.22.3).
    return "/".join(f"{'' if part.NamespaceIndex == 0 else part.NamespaceIndex}{part.Name}" for part in path)


def _test(elements: Sequence[Any]) -> _Test:
    """Make the test of a where clause: each element once, from the last, because operands may only point forward."""
    if not elements:
        return lambda _: True
    made: dict[int, _Test] = {}
    used: set[int] = set()
    for index in range(len(elements) - 1, -1, -1):
        made[index] = _element(elements[index], index, made, used)
    return made[0]


def _element(element: Any, index: int, made: Mapping[int, _Test], used: set[int]) -> _Test:
    operands = [_operand(each, index, made, used) for each in element.FilterOperands or []]
    operator = element.FilterOperator
    if operator == ua.FilterOperator.InList and len(operands) > 1:
        one, *others = operands
        return lambda event: any(_equal(one(event), other(event)) for other in others)
    rule = _OPERATORS.get(operator)
    if rule is None:
        raise RefusedFilterError(ua.StatusCodes.BadFilterOperatorUnsupported)
    count, evaluate = rule
    if len(operands) != count:
        raise RefusedFilterError(ua.StatusCodes.BadFilterOperandCountMismatch)
    if operator == ua.FilterOperator.OfType:
        kind = getattr(getattr(element.FilterOperands[0], "Value", None), "Value", None)
        if not isinstance(kind, ua.NodeId):
            raise RefusedFilterError(ua.StatusCodes.BadFilterOperandInvalid)
        return lambda event: kind in event.kinds
    return lambda event: bool(evaluate(*(operand(event) for operand in operands)))


def _operand(operand: Any, index: int, made: Mapping[int, _Test], used: set[int]) -> _Value:
    match operand:
        case ua.LiteralOperand():
            value = None if operand.Value is None else operand.Value.Value
            if isinstance(value, list | dict):
                raise RefusedFilterError(ua.StatusCodes.BadFilterLiteralInvalid)
            return lambda _: value
        case ua.SimpleAttributeOperand():
            name = _selected(operand)
            if name is None:
                return lambda event: event.condition
            return lambda event: event.field(name).Value
        case ua.ElementOperand():
            # Each element under one other only: a few that share all of theirs would cost us two to their power.
            if not index < operand.Index or operand.Index not in made or operand.Index in used:
                raise RefusedFilterError(ua.StatusCodes.BadFilterOperandInvalid)
            used.add(operand.Index)
            return made[operand.Index]
        case _:
            raise RefusedFilterError(ua.StatusCodes.BadFilterOperandInvalid)


def _equal(one: Any, other: Any) -> bool:
    return one is not None and other is not None and bool(_utc(one) == _utc(other))


def _kind_of_order(value: Any) -> str:
    """Return what a value is ordered among; '': it has no order (a flag, a node id, a localised text)."""
    match value:
        case bool():
            return ""
        case int() | float():
            return "number"
        case str():
            return "text"
        case datetime():
            return "time"
        case _:
            return ""


def _ordered(test: Callable[[Any, Any], Any]) -> Callable[[Any, Any], bool]:
    def compared(one: Any, other: Any) -> bool:
        # Only numbers among numbers, texts among texts, times among times; else no match. What the library's own
        # values do when they are compared (a node id raises AttributeError) is never asked for.
        kind = _kind_of_order(one)
        return kind != "" and kind == _kind_of_order(other) and bool(test(_utc(one), _utc(other)))

    return compared


def _utc(value: Any) -> Any:
    """Return a time as one with its zone: without one the wire's times are UTC."""
    is_naive = isinstance(value, datetime) and value.tzinfo is None
    return value.replace(tzinfo=UTC) if is_naive else value


_greater: Final = _ordered(lambda one, other: one > other)
_at_least: Final = _ordered(lambda one, other: one >= other)
_OPERATORS: Final[Mapping[Any, tuple[int, Callable[..., Any]]]] = {
    ua.FilterOperator.Equals: (2, _equal),
    ua.FilterOperator.IsNull: (1, lambda one: one is None),
    ua.FilterOperator.GreaterThan: (2, _greater),
    ua.FilterOperator.LessThan: (2, lambda one, other: _greater(other, one)),
    ua.FilterOperator.GreaterThanOrEqual: (2, _at_least),
    ua.FilterOperator.LessThanOrEqual: (2, lambda one, other: _at_least(other, one)),
    ua.FilterOperator.Not: (1, lambda one: not one),
    ua.FilterOperator.Between: (3, lambda one, low, high: _at_least(one, low) and _at_least(high, one)),
    ua.FilterOperator.And: (2, lambda one, other: one and other),
    ua.FilterOperator.Or: (2, lambda one, other: one or other),
    ua.FilterOperator.OfType: (1, lambda _: False),
}


class Listener(msgspec.Struct):
    """One monitored item for events, as its subscription keeps it beside asyncua's own item."""

    node: ua.NodeId
    wanted: Wanted


def refusal(code: int) -> ua.MonitoredItemCreateResult:
    """Return the answer to an item that is refused."""
    result = ua.MonitoredItemCreateResult()
    result.StatusCode = status(code)
    return result
