"""Event filters: what is understood selects as the standard says, what is not is refused, and none is expensive."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from asyncua import ua

from protocols.opcua import limits
from protocols.opcua.events import EventData, RefusedFilterError, understood
from protocols.opcua.ids import standard
from protocols.opcua.values import wire_time

ALARM, BASE = standard(ua.ObjectIds.AlarmConditionType), standard(ua.ObjectIds.BaseEventType)
EVENT = EventData(
    kinds=frozenset({ALARM, BASE}),
    heard_at=frozenset(),
    fields={
        "Severity": ua.Variant(ua.UInt16(700), ua.VariantType.UInt16),
        "EventType": ua.Variant(ALARM, ua.VariantType.NodeId),
        "SourceName": ua.Variant("/north/s1", ua.VariantType.String),
        "ActiveState/Id": ua.Variant(True, ua.VariantType.Boolean),
        "Time": ua.Variant(wire_time(), ua.VariantType.DateTime),
    },
    condition=ua.NodeId(ua.String("c"), ua.Int16(2)),
)
OPERATOR = ua.FilterOperator


def field(*names: str) -> ua.SimpleAttributeOperand:
    operand = ua.SimpleAttributeOperand()
    operand.BrowsePath = [ua.QualifiedName(name, 0) for name in names]
    operand.AttributeId = ua.AttributeIds.Value
    return operand


def literal(value: Any, kind: Any) -> ua.LiteralOperand:
    return ua.LiteralOperand(Value=ua.Variant(value, kind))


def number(value: int) -> ua.LiteralOperand:
    return literal(value, ua.VariantType.UInt16)


def at(index: int) -> ua.ElementOperand:
    operand = ua.ElementOperand()
    operand.Index = ua.UInt32(index)
    return operand


def wanted(*elements: tuple[Any, list[Any]], select: list[Any] | None = None) -> ua.EventFilter:
    made = ua.EventFilter()
    made.SelectClauses = [field("Severity")] if select is None else select
    for operator, operands in elements:
        element = ua.ContentFilterElement()
        element.FilterOperator, element.FilterOperands = operator, operands
        made.WhereClause.Elements.append(element)
    return made


SEVERITY, TEXT = field("Severity"), literal("/north/s1", ua.VariantType.String)
LOCAL = literal(ua.LocalizedText("x"), ua.VariantType.LocalizedText)
LONG_AGO = literal(datetime(2020, 1, 1), ua.VariantType.DateTime)  # noqa: DTZ001 - as the decoder makes them
OF_TYPE = literal(ALARM, ua.VariantType.NodeId)


@pytest.mark.parametrize(
    ("elements", "passes"),
    [
        ([], True),
        ([(OPERATOR.Equals, [SEVERITY, number(700)])], True),
        ([(OPERATOR.Equals, [SEVERITY, number(701)])], False),
        ([(OPERATOR.Equals, [field("Nothing"), number(700)])], False),
        ([(OPERATOR.GreaterThan, [SEVERITY, number(700)])], False),
        ([(OPERATOR.GreaterThanOrEqual, [SEVERITY, number(700)])], True),
        ([(OPERATOR.LessThan, [SEVERITY, number(701)])], True),
        ([(OPERATOR.LessThanOrEqual, [SEVERITY, number(699)])], False),
        ([(OPERATOR.GreaterThan, [SEVERITY, TEXT])], False),
        ([(OPERATOR.GreaterThan, [field("Time"), number(1)])], False),
        ([(OPERATOR.GreaterThan, [field("Time"), LONG_AGO])], True),
        ([(OPERATOR.LessThan, [field("Time"), LONG_AGO])], False),
        ([(OPERATOR.GreaterThan, [number(1), field("EventType")])], False),
        ([(OPERATOR.LessThan, [field("EventType"), number(1)])], False),
        ([(OPERATOR.GreaterThan, [field("EventType"), field("EventType")])], False),
        ([(OPERATOR.Between, [field("EventType"), OF_TYPE, number(1)])], False),
        ([(OPERATOR.GreaterThan, [field("ActiveState", "Id"), number(0)])], False),
        ([(OPERATOR.GreaterThan, [LOCAL, LOCAL])], False),
        ([(OPERATOR.Equals, [field("EventType"), number(1)])], False),
        ([(OPERATOR.Between, [SEVERITY, number(600), number(700)])], True),
        ([(OPERATOR.Between, [SEVERITY, number(701), number(900)])], False),
        ([(OPERATOR.IsNull, [field("Nothing")])], True),
        ([(OPERATOR.IsNull, [SEVERITY])], False),
        ([(OPERATOR.InList, [field("SourceName"), number(1), TEXT])], True),
        ([(OPERATOR.InList, [field("SourceName"), number(1)])], False),
        ([(OPERATOR.OfType, [OF_TYPE])], True),
        ([(OPERATOR.OfType, [literal(standard(ua.ObjectIds.AuditEventType), ua.VariantType.NodeId)])], False),
        ([(OPERATOR.Not, [at(1)]), (OPERATOR.OfType, [OF_TYPE])], False),
        ([(OPERATOR.And, [at(1), field("ActiveState", "Id")]), (OPERATOR.OfType, [OF_TYPE])], True),
        ([(OPERATOR.Or, [at(1), at(2)]), (OPERATOR.IsNull, [SEVERITY]), (OPERATOR.OfType, [OF_TYPE])], True),
    ],
)
def test_a_filter_selects_as_the_standard_says(elements: list[Any], *, passes: bool) -> None:
    """OPC 10000-4, 7.7.3: what has no order or is null matches nothing; a type matches its subtypes' events."""
    assert understood(wanted(*elements)).test(EVENT) is passes


@pytest.mark.parametrize(
    ("elements", "code"),
    [
        ([(OPERATOR.Like, [SEVERITY, TEXT])], "BadFilterOperatorUnsupported"),
        ([(OPERATOR.Cast, [SEVERITY, TEXT])], "BadFilterOperatorUnsupported"),
        ([(OPERATOR.Equals, [SEVERITY])], "BadFilterOperandCountMismatch"),
        ([(OPERATOR.Not, [at(0)])], "BadFilterOperandInvalid"),
        ([(OPERATOR.Not, [at(5)])], "BadFilterOperandInvalid"),
        ([(OPERATOR.And, [at(1), at(1)]), (OPERATOR.IsNull, [SEVERITY])], "BadFilterOperandInvalid"),
        ([(OPERATOR.OfType, [SEVERITY])], "BadFilterOperandInvalid"),
        ([(OPERATOR.OfType, [LOCAL])], "BadFilterOperandInvalid"),
        ([(OPERATOR.Equals, [SEVERITY, literal([1, 2], ua.VariantType.UInt16)])], "BadFilterLiteralInvalid"),
        ([(OPERATOR.Equals, [SEVERITY, ua.AttributeOperand()])], "BadFilterOperandInvalid"),
        ([(OPERATOR.IsNull, [SEVERITY])] * (limits.WHERE_ELEMENTS_MAX + 1), "BadTooManyOperations"),
        ([(OPERATOR.InList, [number(1)] * (limits.WHERE_OPERANDS_MAX + 1))], "BadTooManyOperations"),
    ],
)  # fmt: skip
def test_what_cannot_be_evaluated_or_costs_too_much_is_refused(elements: list[Any], code: str) -> None:
    """OPC-5: when the filter comes: elements that share theirs would cost two to the power of their number."""
    with pytest.raises(RefusedFilterError) as caught:
        understood(wanted(*elements))
    assert caught.value.code == getattr(ua.StatusCodes, code)


def test_fields_come_in_the_order_asked_for() -> None:
    """OPC 10000-4, 7.22.3: unknown fields, and those of another namespace, are null; the condition is its node id."""
    condition = ua.SimpleAttributeOperand()
    condition.AttributeId = ua.AttributeIds.NodeId
    foreign = field("Severity")
    foreign.BrowsePath = [ua.QualifiedName("Severity", 2)]
    asked = [field("SourceName"), condition, field("Nothing"), foreign, field("ActiveState", "Id")]
    values = [each.Value for each in understood(wanted(select=asked)).select(EVENT)]
    assert values == ["/north/s1", EVENT.condition, None, None, True]
    for wrong in ([], [field("Severity")] * (limits.SELECT_CLAUSES_MAX + 1)):
        with pytest.raises(RefusedFilterError):
            understood(wanted(select=wrong))
    with pytest.raises(RefusedFilterError):
        understood(None)
