"""What survives a crash of the job's process, and what can be done with it: backup, damage."""
