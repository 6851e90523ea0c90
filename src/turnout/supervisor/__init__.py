"""The parent of all processes of one server: takes the port, starts, reaps and restarts, and ends them all.

``children`` decides, purely; ``process`` is the shell around it; ``commands`` says how each child is called.
"""
