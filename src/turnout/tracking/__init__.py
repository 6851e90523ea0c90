"""Passes what happens to a job on to other people's dashboards: TensorBoard, MLflow.

A client of the API in a process of its own, so that nothing it does can hold up a job. What was missed while it or the
server was away is passed on later: the events of a job are kept.
"""
