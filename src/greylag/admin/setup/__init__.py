"""Setting greylag up beside a mail server, and taking it out again.

`qmail` and `postfix` look at a machine and make a plan (`steps`): changes of paths with what is
there and what will be, accounts, and commands, in an order in which no mail is refused. `applying`
carries it out, all or nothing, and undoes it; what it needs for that lies in the `manifest`.
"""
