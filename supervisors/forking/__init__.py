"""Ray workers forked from a warm template instead of started cold (ops/decisions/0020): nobody outside knows of it."""
