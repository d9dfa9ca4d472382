"""The assignment problem over sparse pairs: which two of two sets belong together."""

from __future__ import annotations

import numpy as np

from miliary_seg.domain.arrays import Float64Array, Int64Array


def one_to_one(
    rows: Int64Array, columns: Int64Array, worth: Float64Array, room: float
) -> tuple[Int64Array, Int64Array]:
    """One-to-one pairs, as many as possible, and of these the set of greatest total worth.

    Solved exactly by ``scipy.optimize.linear_sum_assignment`` on each connected part of the graph of admissible pairs.

    Parameters
    ----------
    rows, columns
        Admissible pairs.
    worth
        Worth of each pair, above 0.
    room
        Added to the worth of every pair, so large that one more pair outweighs any difference of worth.

    Returns
    -------
    tuple
        Rows and columns of the chosen pairs.
    """
    if not rows.size:
        return rows.astype(np.int64), columns.astype(np.int64)
    row_ids, row_at = np.unique(rows, return_inverse=True)
    column_ids, column_at = np.unique(columns, return_inverse=True)
    if len(row_ids) == len(column_ids) == rows.size:  # nothing competes: the usual case
        order = np.argsort(rows)
        return rows[order], columns[order]
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    n = len(row_ids) + len(column_ids)
    graph = coo_array((np.ones(rows.size), (row_at, column_at + len(row_ids))), shape=(n, n))
    part = connected_components(graph, directed=False)[1][row_at]
    chosen: list[tuple[Int64Array, Int64Array]] = []
    for edges in np.split(np.argsort(part, kind="stable"), np.cumsum(np.bincount(part))[:-1]):
        r_ids, r = np.unique(rows[edges], return_inverse=True)
        c_ids, c = np.unique(columns[edges], return_inverse=True)
        if edges.size > 1:
            table = np.zeros((r_ids.size, c_ids.size))
            table[r, c] = worth[edges] + room
            i, j = _assigned(table)
            r_ids, c_ids = r_ids[i], c_ids[j]
        chosen.append((r_ids, c_ids))
    return np.concatenate([i for i, _ in chosen]), np.concatenate([j for _, j in chosen])


def _assigned(table: Float64Array) -> tuple[Int64Array, Int64Array]:
    """Rows and columns of the assignment of greatest worth, without pairs of worth 0 (not admissible)."""
    from scipy.optimize import linear_sum_assignment  # half a second, and lesions seldom compete for one partner

    i, j = linear_sum_assignment(table, maximize=True)
    kept = table[i, j] > 0
    return i[kept], j[kept]
