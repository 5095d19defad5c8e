"""Every bound of the OPC UA endpoint in one place: what one client, and all of them, may cost us (OPC-5)."""

from __future__ import annotations

import math
from typing import Final

# --- Connections ----------------------------------------------------------------------------------------------
SESSIONS_MAX: Final = 50
# A few more than sessions: a client that comes back connects before its old connection is noticed as dead.
CONNECTIONS_MAX: Final = SESSIONS_MAX + 14
# A connection without an activated session is a scan or half open; it may not keep a place.
IDLE_CONNECTION_S: Final = 10.0
# A client that asks and never reads the answers is dropped after this long with a full buffer.
STALLED_WRITE_S: Final = 10.0
WRITE_BUFFER_BYTES: Final = 1 << 20
# Closing politely means flushing first; who does not read is cut off.
CLOSE_GRACE_S: Final = 2.0
SWEEP_PERIOD_S: Final = 1.0
# Frames parsed and waiting per connection; above the first we stop reading from that client, below the second
# we go on.
QUEUED_FRAMES_HIGH: Final = 32
QUEUED_FRAMES_LOW: Final = 8

# What is told of clients: of each kind so many at once, then so many a second; all kinds together ten times that.
NEWS_BURST: Final = 100
NEWS_PER_S: Final = 10.0
NEWS_SHARE: Final = 10

# --- Sessions and channels ------------------------------------------------------------------------------------
SESSION_TIMEOUT_S_MIN: Final = 5.0
SESSION_TIMEOUT_S_MAX: Final = 60.0
CHANNEL_LIFETIME_MS_MIN: Final = 10_000
CHANNEL_LIFETIME_MS_MAX: Final = 3_600_000

# Opening or renewing a channel, making a session and proving who one is cost a private key's work each, 3 to 10 ms.
# From one address so many at once (64 clients that come back), then so many a second; from all together so many times
# that.
HANDSHAKES_BURST: Final = 192
HANDSHAKES_PER_S: Final = 24.0
HANDSHAKES_SHARE: Final = 2
# The encrypted part of such a request: a real one has two or three blocks of the key's length.
OPEN_BYTES_MAX: Final = 4_096
# Who cannot say who they are after so many tries loses the connection.
ACTIVATIONS_FAILED_MAX: Final = 3
# A password is compared beside the loop; whoever waits longer is told to come back.
IDENTIFY_DEADLINE_S: Final = 5.0
# How soon a user who was disabled, or a certificate that was taken away, loses the session.
STANDING_PERIOD_S: Final = 5.0
# How soon a certificate file that changed is taken up, and how long its disk may take.
PKI_PERIOD_S: Final = 2.0
DISK_DEADLINE_S: Final = 5.0

# --- Messages -------------------------------------------------------------------------------------------------
CHUNK_BYTES_MIN: Final = 8_192  # OPC 10000-6, 7.1.2.3: no buffer may be smaller
CHUNK_BYTES_MAX: Final = 65_535
HELLO_BYTES_MAX: Final = 8_192
# 1,000 nodes with our longest ids are some 200 kB; a decoded message costs up to 200 times its bytes.
REQUEST_BYTES_MAX: Final = 256 * 1024
REQUEST_CHUNKS_MAX: Final = math.ceil(REQUEST_BYTES_MAX / CHUNK_BYTES_MIN)
RESPONSE_BYTES_MAX: Final = 8 << 20
# We accept no arrays; asyncua allocates what a Variant's dimensions claim, per value of a request.
ARRAY_ELEMENTS_MAX: Final = 64

# --- Operations of one request --------------------------------------------------------------------------------
NODES_PER_READ_MAX: Final = 1_000
NODES_PER_WRITE_MAX: Final = 500
NODES_PER_BROWSE_MAX: Final = 200
# References in one answer, 15 microseconds each, and each node's least part of them; the rest by BrowseNext.
REFERENCES_PER_BROWSE_MAX: Final = 3_000
REFERENCES_PER_NODE_MIN: Final = 15
BROWSE_POINTS_MAX: Final = 200
PATH_ELEMENTS_MAX: Final = 16
PATH_TARGETS_MAX: Final = 100
NODES_PER_TRANSLATE_MAX: Final = 200
NODES_PER_REGISTER_MAX: Final = 1_000
ITEMS_PER_CALL_MAX: Final = 1_000
# A guard that takes longer would hold up this client's later requests.
GUARD_DEADLINE_S: Final = 5.0

# --- Subscriptions --------------------------------------------------------------------------------------------
SUBSCRIPTIONS_PER_SESSION_MAX: Final = 10
SUBSCRIPTIONS_MAX: Final = 200
PUBLISHING_INTERVAL_MS_MIN: Final = 50.0
PUBLISHING_INTERVAL_MS_MAX: Final = 60_000.0
KEEP_ALIVE_COUNT_MAX: Final = 1_200
# How long a subscription lives without a publish request.
LIFETIME_MS_MAX: Final = 600_000.0
# All sessions together: a SCADA pair and a historian may each watch everything, and small plants get a floor.
MONITORED_ITEMS_FLOOR: Final = 2_000
MONITORED_ITEMS_PER_POINT: Final = 3
ITEM_QUEUE_MAX: Final = 10
NOTIFICATIONS_PER_MESSAGE_MAX: Final = 5_000
# An event has as many fields as its client selected, and one that is a list counts by its length.
EVENT_FIELDS_PER_MESSAGE_MAX: Final = 5_000
UNACKNOWLEDGED_MAX: Final = 16

# --- Methods, history, events -------------------------------------------------------------------------------
METHODS_PER_CALL_MAX: Final = 20
NODES_PER_HISTORY_READ_MAX: Final = 20
HISTORY_VALUES_MAX: Final = 1_000
# For all nodes of one request together, the database's own patience included.
HISTORY_DEADLINE_S: Final = 10.0
HISTORY_AT_ONCE_MAX: Final = 2
# Conditions shown at a time; a refresh must fit into an item's queue, so no event item has a shorter one.
CONDITIONS_MAX: Final = 500
EVENT_QUEUE: Final = 600
EVENT_ITEMS_MAX: Final = 100
EVENT_ITEMS_PER_SESSION_MAX: Final = 10
# Between one subscription's refreshes; and what each item's costs its session, which may have all of its items
# refreshed at once: each costs as much as there are conditions.
REFRESH_APART_S: Final = 0.5
SELECT_CLAUSES_MAX: Final = 100
WHERE_ELEMENTS_MAX: Final = 32
WHERE_OPERANDS_MAX: Final = 1_000
MODEL_CHANGES_TOLD_MAX: Final = 100

# --- Our own work ---------------------------------------------------------------------------------------------
# Nodes added before the loop gets its turn: liveness pings and other clients go on while a plant is built.
NODES_PER_SLICE: Final = 200
# Refreshing before reads may take at most this share of the processor, however many reads arrive.
REFRESH_SHARE_MAX: Final = 0.1
REFRESH_INTERVAL_S_MAX: Final = 0.5
assert 0 < REFRESH_SHARE_MAX < 1
# A refresh: its start, its end, and that some are not shown.
assert CONDITIONS_MAX + 3 < EVENT_QUEUE
# A client must be able to keep its subscription alive with the longest interval we grant.
assert 3 * PUBLISHING_INTERVAL_MS_MAX <= LIFETIME_MS_MAX
assert NODES_PER_BROWSE_MAX * REFERENCES_PER_NODE_MIN <= REFERENCES_PER_BROWSE_MAX
# Every node of a request can be cut off; those of the request before are then forgotten.
assert NODES_PER_BROWSE_MAX <= BROWSE_POINTS_MAX
assert IDLE_CONNECTION_S < SESSION_TIMEOUT_S_MAX
assert CHUNK_BYTES_MAX < REQUEST_BYTES_MAX < WRITE_BUFFER_BYTES


def monitored_items_max(points: int) -> int:
    """How many monitored items all sessions may have together, for a plant of so many points."""
    return max(MONITORED_ITEMS_FLOOR, MONITORED_ITEMS_PER_POINT * points)
