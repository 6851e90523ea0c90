"""What people type and read: names and addresses as given, ages, characters that may reach a terminal."""
