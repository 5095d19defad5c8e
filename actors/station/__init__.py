"""A station as a whole: its wet well, its controllers' feedback, and the actor that merges and records them."""
