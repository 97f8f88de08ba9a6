"""What more than one command needs: the report's job, compiled programs, whole files, pullbacks."""
