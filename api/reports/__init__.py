"""Compliance reports from the audit trail: what is in them, and their forms (AUD-3)."""
