"""`/api/v1/alarms/ALARM/acknowledge`: a person says that they have seen an alarm (ALM-1, OPC-3's method as REST)."""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec
from litestar import Request, post
from litestar.datastructures import State
from litestar.params import JSONBody, PathParameter

from actors.vocabulary import InvalidValueError
from actors.vocabulary.access import Operation
from api.access.guarding import by_of, needs
from api.handling import peer_of, service_of, strictly
from api.keys import keyed
from api.stop_answers import checked_text

COMMENT_MAX: Final = 300
_OBJECT_MAX: Final = 100

AlarmId = Annotated[
    str, PathParameter(description="alarm_id, as the list of alarms tells it", max_length=100)
]


class Acknowledge(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An acknowledgement: by whom, and what they want to say about it."""

    comment: str = ""
    by: str = ""


class AcknowledgedView(msgspec.Struct, frozen=True, kw_only=True):
    """What was acknowledged."""

    alarm_id: str
    by: str
    comment: str


@post(
    "/alarms/{alarm_id:str}/acknowledge",
    status_code=200,
    summary="Acknowledge an alarm",
    opt=needs(Operation.ACKNOWLEDGE_ALARM) | keyed(),
)
async def acknowledge(
    state: State, request: Request[Any, Any, State], alarm_id: AlarmId, data: JSONBody[Acknowledge]
) -> AcknowledgedView:
    """Note that a person has seen an alarm; one that was acknowledged before is refused, 409, one that is gone, 404."""
    strictly(request, Acknowledge)
    service, peer, by = service_of(state), peer_of(request), by_of(request, data.by)
    alarm_id, comment = checked_text("alarm_id", alarm_id), _checked_comment(data.comment)
    subject = f"ALARM:{alarm_id}"[:_OBJECT_MAX]
    await service.noting.refusals(
        service.sources.acknowledge(alarm_id, by=by, comment=comment),
        "ALARM_ACKNOWLEDGE_REFUSED",
        actor=by,
        peer=peer,
        object_id=subject,
    )
    service.noting.note(
        "ALARM_ACKNOWLEDGED", actor=by, peer=peer, object_id=subject, after={"comment": comment}
    )
    return AcknowledgedView(alarm_id=alarm_id, by=by, comment=comment)


def _checked_comment(text: str) -> str:
    comment = text.strip()
    if len(comment) > COMMENT_MAX or not comment.isprintable():
        raise InvalidValueError(
            f"comment: {text[:60]!r}, expected at most {COMMENT_MAX} printable characters"
        )
    return comment


ALARM_HANDLERS: Final = [acknowledge]
