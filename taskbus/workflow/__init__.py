"""Workflows: chains, groups, chords and batches, from what a user writes to the nodes that a store keeps.

``shape`` is what they are, as plain data; ``canvas`` and ``signature`` are the words for it, ``graph`` turns a shape
into nodes, ``flows`` begins them. What nodes do once they are begun is the business of the store: ``store/flows.py``.
"""
