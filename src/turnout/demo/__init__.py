"""The demonstration: handwritten digits, a job folder for them, and the accuracy to compare with."""
