"""How a supervisor's children look to people: rows of `calejo tree` (SUP-7). Pure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from actors.messages import TreeNode
from actors.vocabulary import Instant, Role
from supervisors.restart import Child, ChildState, TreeState
from supervisors.runtime import HostStats
from supervisors.spec import ChildSpec, GroupSpec, leaves, walk

_NS_PER_S = 1_000_000_000
# The worst state first: a group shows the worst of its children.
_WORST_FIRST = (
    ChildState.QUARANTINED,
    ChildState.RESTARTING,
    ChildState.STARTING,
    ChildState.RUNNING,
    ChildState.STOPPED,
)


def child_row(spec: ChildSpec, child: Child, stats: HostStats | None, *, now: Instant) -> TreeNode:
    """Return the row of one process; what only a living one has is None when it does not live."""
    alive = stats if child.state is ChildState.RUNNING else None
    return TreeNode(
        address=spec.address,
        role=spec.role,
        kind="process",
        state=child.state.value,
        pid=alive.pid if alive else None,
        node_id=alive.node_id if alive else None,
        restarts=child.restarts,
        last_error=child.last_error,
        mailbox_depth=alive.mailbox_depth if alive else None,
        rss_mib=alive.rss_mib if alive else None,
        lost_tells=alive.lost_tells + alive.refused if alive else 0,
        birth=alive.birth if alive else None,
        gone_at=None if child.gone_at_s is None else now.plus(child.gone_at_s - now.boot_ns / _NS_PER_S).utc,
        away_s=child.away_s,
    )


def group_row(spec: GroupSpec, state: TreeState) -> TreeNode:
    """Return the row of a group: the worst state of the processes in it, no pid."""
    states = {state.children.get(leaf.address, Child()).state for leaf in leaves(spec)}
    worst = next((each for each in _WORST_FIRST if each in states), ChildState.RUNNING)
    return TreeNode(
        address=spec.address,
        role=Role.SUPERVISOR,
        kind="group",
        state=worst.value,
        pid=None,
        node_id=None,
        restarts=len(state.group_failures_s.get(spec.address, ())),
        last_error="",
        mailbox_depth=None,
        rss_mib=None,
    )


def ended_rows(row: TreeNode, tree: GroupSpec) -> tuple[TreeNode, ...]:
    """Return the rows of a supervisor that is tried no more: its own, and all below it, ended with it."""
    rows = [row]
    for spec in walk(tree):
        if spec.address == row.address:
            continue
        rows.append(
            TreeNode(
                address=spec.address,
                role=spec.role if isinstance(spec, ChildSpec) else Role.SUPERVISOR,
                kind="process" if isinstance(spec, ChildSpec) else "group",
                state=ChildState.STOPPED.value,
                pid=None,
                node_id=None,
                restarts=0,
                last_error=f"{row.address} is {row.state}",
                mailbox_depth=None,
                rss_mib=None,
            )
        )
    return tuple(rows)


def subtree_rows(row: TreeNode, answer: Sequence[TreeNode] | str) -> tuple[TreeNode, ...]:
    """Return a site supervisor's rows: its own as its parent knows it, then those it gave; text: why it gave none."""
    if isinstance(answer, str):
        return (msgspec.structs.replace(row, last_error=answer),)
    return (row, *(node for node in answer if node.address != row.address))
