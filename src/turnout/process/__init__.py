"""What a process of turnout is to its system: its streams, its place among the processes, its share of the machine."""
