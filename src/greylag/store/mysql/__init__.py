"""The store in a database of MySQL or MariaDB."""
