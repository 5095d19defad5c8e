"""The wire: OPC UA and Modbus servers and clients, point maps, bytes to values and back."""
