"""The search of networks: spaces, their networks, tables of trained ones, strategies, DARTS.

May import `engine` and what lies before it.
"""
