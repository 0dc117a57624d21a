"""A qmail-smtpd with the qmail-spp patch, as far as a plugin and an SMTP client can see one."""
