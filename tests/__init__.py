"""The tests: unit, simulation, wire, ray and chaos; each docstring names the requirement it proves."""
