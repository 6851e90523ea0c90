"""Which job answers this device, and the requests on their way there: between gateway and transport on the walk."""
