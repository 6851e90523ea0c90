"""What people talk to: an API on the loopback, the store of jobs, and the feed that tells gateways which jobs run.

Gateways and jobs live on without it; when it is started again it asks the supervisor what runs.
"""
