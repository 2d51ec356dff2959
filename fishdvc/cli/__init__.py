"""Commands for people: arguments in, one line out. Nothing else imports this."""
