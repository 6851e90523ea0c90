"""Many updates become one model: the sum and its mean, what a late update counts, the server's step.

The end of the walk. Pure.
"""
