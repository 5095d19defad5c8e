"""The running program, killed and hung on purpose, judged by what a Modbus client sees on the wire."""
