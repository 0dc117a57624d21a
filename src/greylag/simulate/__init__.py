"""A month of mail that nobody sent, through greylag's own rules, on a clock of its own.

- `schedules`: when senders try again.
- `mail`: what a mail is, and what is known to be true of it.
- `senders`: who sends: bots, new senders, pools of servers, lists.
- `month`: sends it through `service`, into any store.

All of it comes from one seed: the same seed makes the same month. `greylag demo` shows it, and
tests hold the figures against what is known to be true.
"""
