"""What commands and pages draw alike. All of it is pure: values in, text out."""
