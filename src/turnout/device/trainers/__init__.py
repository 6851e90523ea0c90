"""Trainers: what a device does with a model and its own examples."""
