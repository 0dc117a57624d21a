"""A world of senders, good and bad, who send mail to one site for days of simulated time.

- `servers`: the private name server (knot) that has the world's zones, and the resolver (unbound)
  in between.
- `zones`: what these zones say, as text.
- `schedules`: when senders try again.
- `traffic`: what a mail is, and who else does what.
- `pools`, `singles`, `bulk`, `bots`: who sends; `population` puts them together, and says in one
  table who they are.
- `settings`: the settings that are compared.
- `evidence`: asks DNS for greylag.
- `simulation`: sends the mail through greylag's own rules, with a clock of its own.
- `claims`: what has to hold, and whether it does; `report` prints both.

`python -m bench.world` runs it.
"""
