"""From a study to trials, from trials to packs, and what they will take.

May import `nas` and what lies before it.
"""
