"""A job, its gateways and its devices in virtual time, from one seed: finds what nobody thought of."""
