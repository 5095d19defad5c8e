"""Short names for what asyncua wants wrapped: status codes and node ids."""

from __future__ import annotations

import secrets

from asyncua import ua

from protocols.points import OPCUA_NAMESPACE_INDEX


def status(code: int) -> ua.StatusCode:
    """Status code object of a number of `ua.StatusCodes`."""
    return ua.StatusCode(ua.UInt32(code))


def standard(number: int) -> ua.NodeId:
    """Node id of a node of the standard, a number of `ua.ObjectIds`."""
    return ua.NodeId(ua.Int32(number))


def random(size: int) -> ua.NodeId:
    """Node id that cannot be guessed, of so many random bytes."""
    return ua.NodeId(ua.ByteString(secrets.token_bytes(size)), ua.Int16(0), ua.NodeIdType.ByteString)


def own(identifier: str) -> ua.NodeId:
    """Node id of a node of ours."""
    return ua.NodeId(ua.String(identifier), ua.Int16(OPCUA_NAMESPACE_INDEX))


def below(node_id: ua.NodeId, name: str) -> ua.NodeId:
    """Node id of a property of one of our nodes."""
    assert isinstance(node_id.Identifier, str), "our node ids are texts"
    return own(f"{node_id.Identifier}/{name}")


CONDITIONS = "conditions/"
"""How the node ids of conditions begin: what alarms tell, and by whom they were seen, is not for everybody."""


def is_of_condition(node_id: ua.NodeId) -> bool:
    """Say whether a node is a condition or of one, whether it is there or not."""
    return (
        node_id.NamespaceIndex == OPCUA_NAMESPACE_INDEX
        and isinstance(node_id.Identifier, str)
        and node_id.Identifier.startswith(CONDITIONS)
    )
