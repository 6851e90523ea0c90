"""Request and reply between processes: frames over sockets. Between dispatcher and job on the walk."""
