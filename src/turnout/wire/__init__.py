"""Messages to bytes and back: the one place that distrusts its input."""
