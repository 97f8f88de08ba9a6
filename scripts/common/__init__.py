"""What more than one command needs: the report's job, and whole files, and pullbacks."""
