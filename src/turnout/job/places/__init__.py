"""What a task is, which device gets one, and when the other devices should return. Pure."""
