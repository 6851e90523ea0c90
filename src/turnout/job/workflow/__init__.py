"""When a version closes, what is measured of it, and which version is the best. Pure."""
