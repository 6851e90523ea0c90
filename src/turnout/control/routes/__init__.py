"""What each route of the API answers, by subject; each class lists its operations."""
