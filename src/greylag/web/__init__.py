"""The dashboard: pages over the use cases of `admin`, in a process of its own.

`app` makes the application, `gate` is what every request passes first, `pages` has a module for
each page, and `serve` runs it. It needs the extra `web`; nothing else imports this package.
"""
