"""Reading the logs of mail servers: whose mail was accepted, and when."""
