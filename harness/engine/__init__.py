"""K trials as one program: what becomes of a `Training`. Knows no study file, ledger or executor.

May import `parts` and what lies before it.
"""
