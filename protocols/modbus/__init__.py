"""Modbus TCP: values to registers and back, the register image, the hardened server."""
