"""One pump: its calculators, its modes, and the actor that turns them into proposals each control period."""
