"""What a supervisor shows of all below it: its own children, and what the supervisors among them answer (SUP-7)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

from actors.messages import GetTree, TreeNode, TreeView
from actors.runtime import Directory
from actors.vocabulary import Address, CalejoError, Role
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
) -> tuple[TreeNode, ...]:
    """Return the rows of all below the top, in start order; a supervisor that does not answer is one row."""
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
        row = child_row(spec, state.children.get(spec.address, Child()), stats.get(spec.address))
        answer, below = answers.get(spec.address), tree_below(spec)
        if answer is not None:
            rows.extend(subtree_rows(row, answer))
        elif row.state == ChildState.QUARANTINED and below is not None and not spec.refused:
            rows.extend(ended_rows(row, below))
        else:
            rows.append(row)
    return tuple(rows)


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
