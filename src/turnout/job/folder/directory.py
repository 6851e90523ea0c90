"""The names of what lies in a job's directory, which is named after the job's id."""

FOLDER = "folder"  #: The job folder as it was submitted.
JOURNAL = "journal.sqlite"  #: What the job must not forget; ``-wal`` and ``-shm`` beside it are SQLite's.
LOCK = "journal.lock"  #: Held by the one process that runs the job; its pid is in it.
RECORDER = "recorder"  #: What that process is doing right now.
BLOBS = "blobs"  #: The models that devices may still download, each under its sha256.
CARRIED = "carried.safetensors"  #: What of the model is not trained, for the files that people get.
PUBLISHED = "published.json"  #: The newest version that devices were given.
EVENTS = "events.jsonl"  #: What happened to the job, for people.
LOG = "log.txt"  #: What its process printed, for people; the supervisor writes it.
FINAL = "final.json"  #: The job's last account of itself, once it is over.
