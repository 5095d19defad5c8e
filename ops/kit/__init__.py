"""The commissioning kit: the map for SCADA systems and controllers, and both wires as a client sees them."""
