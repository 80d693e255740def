"""What is trained into a folder: one `Job`, one `run_job`, one file for each kind of thing."""
