"""Files of a server: private, durable, locked, and brought to the schema of this release."""
