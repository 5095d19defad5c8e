"""The OPC UA endpoint: a hardened server over asyncua's address space, codec and subscriptions."""

from protocols.opcua.server import OpcUaEndpoint

__all__ = ["OpcUaEndpoint"]
