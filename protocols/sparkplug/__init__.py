"""The Sparkplug B 3.0 edge node: payloads, session, commands and backfill are pure; `endpoint` alone does I/O."""
