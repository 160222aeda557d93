"""What is handed over: a folder with the champion and all that it takes to answer image files."""
