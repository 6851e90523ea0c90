"""What devices connect to: parses, limits, hands each request to the dispatcher. The first step of the walk."""
