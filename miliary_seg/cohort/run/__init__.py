"""Many cases, each alone.

``batch`` is the call, ``pool`` and ``dask_pool`` run ``worker`` processes, ``case`` does the work of one of them,
``manifest`` says what is finished, ``log`` keeps the ledger.
"""
