"""Tests that look at the dashboard as people do: in a real browser."""
