"""Changing limits with approval: pure law (SAF-6); REST is its shell."""
