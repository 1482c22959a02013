"""What is kept: the database with all SQL, accounts, and the volumes with the recordings."""
