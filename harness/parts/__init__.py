"""The shelf: what a `Training` is put together from. Models, data, optimizers, objectives,
schedules, augmentation, probes, and keyed randomness.

May import `study` and what lies before it.
"""
