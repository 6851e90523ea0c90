"""Parts that run inside other people's systems; each needs what it is named after, and nothing else of turnout does."""
