"""All that a job decides: events in, effects out. Pure."""
