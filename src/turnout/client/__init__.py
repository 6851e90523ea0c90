"""Who talks to control: the client of its API, what it is told, and where the servers of an account are found."""
