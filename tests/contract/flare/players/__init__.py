"""The device clients of NVIDIA FLARE 2.9, played: the bytes each one sends, what it can read, what it then does.

Written from how they behave, bugs included. Their waits go through a function that a test gives, so no time passes.
"""
