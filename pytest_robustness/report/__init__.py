"""Results as people read them: in the terminal and as one HTML page."""
