"""The REST interface and the dashboard: what the tree knows, shown; never a setpoint computed."""
