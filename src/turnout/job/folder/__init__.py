"""What a person wrote: the job folder, read and checked, and the names of the files in a job's directory."""
