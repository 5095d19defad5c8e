"""What a supervisor shows of all below it: its own children, and what the supervisors among them answer (SUP-7)."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from typing import Final

from actors.messages import GetTree, TreeNode, TreeView
from actors.runtime import Directory
from actors.vocabulary import Address, CalejoError, Instant, Role
from supervisors.restart import Child, ChildState, TreeState
from supervisors.runtime import HostStats
from supervisors.spec import ChildSpec, GroupSpec, leaves, walk
from supervisors.tree import tree_below
from supervisors.view import child_row, ended_rows, group_row, subtree_rows

_SUBTREE_DEADLINE_S: Final = 1.0


async def tree_rows(
    tree: GroupSpec,
    state: TreeState,
    stats: Mapping[Address, HostStats | None],
    directory: Directory,
    *,
    now: Instant,
    ended: Collection[Address] = (),
) -> tuple[TreeNode, ...]:
    """Return the rows of all below the top, in start order; a supervisor that does not answer is one row.

    `ended`: the supervisors below whom all was ended although they are tried on.
    """
    specs = [spec for spec in leaves(tree) if spec.role is Role.SUPERVISOR]
    asked = [_subtree(spec, state, directory) for spec in specs]
    answers = dict(zip((spec.address for spec in specs), await asyncio.gather(*asked), strict=True))
    rows: list[TreeNode] = []
    for spec in walk(tree):
        if spec.address == tree.address:
            continue
        if isinstance(spec, GroupSpec):
            rows.append(group_row(spec, state))
            continue
        child = state.children.get(spec.address, Child())
        row = child_row(spec, child, stats.get(spec.address), now=now)
        answer, below = answers.get(spec.address), tree_below(spec)
        if answer is not None:
            rows.extend(subtree_rows(row, answer))
        elif below is not None and _is_ended(spec, row, ended):
            rows.extend(ended_rows(row, below))
        else:
            rows.append(row)
    return tuple(rows)


def _is_ended(spec: ChildSpec, row: TreeNode, ended: Collection[Address]) -> bool:
    if row.state == ChildState.QUARANTINED:
        return not spec.refused  # one that is refused never had anything below it
    return spec.address in ended and row.state != ChildState.RUNNING


async def _subtree(
    spec: ChildSpec, state: TreeState, directory: Directory
) -> tuple[TreeNode, ...] | str | None:
    if state.children.get(spec.address, Child()).state is not ChildState.RUNNING:
        return None
    try:
        answer = await directory.ref(spec.address).ask(GetTree(), deadline_s=_SUBTREE_DEADLINE_S)
    except CalejoError as error:
        return str(error)
    assert isinstance(answer, TreeView)
    return answer.nodes
