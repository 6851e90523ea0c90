"""The submitter's code: ``server.py``, asked in processes of its own."""
