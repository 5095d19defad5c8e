"""A station's plans: which rows count, which of them speaks now, and the actor that hands them to the pumps."""
