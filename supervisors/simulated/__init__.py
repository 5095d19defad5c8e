"""The runtime in virtual time: whole trees in one process, with seeded faults, for simulation."""
