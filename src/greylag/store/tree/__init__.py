"""The store in jgreylist's files: for connections alone."""
