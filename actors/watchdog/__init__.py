"""A site's timers, their alarms and the record of its failsafes."""
