"""`greylag serve`: the daemon, in the foreground, as daemontools, runit and systemd like it."""

from __future__ import annotations

import click

from greylag.cli.common import CONFIG_ERROR, STORE_UNAVAILABLE, CommandError, Run, examples


@click.command(
    epilog=examples(
        "greylag serve",
        "greylag --config ./greylag.toml serve",
    )
)
@click.pass_obj
def serve(run: Run) -> None:
    """Answer mail servers' questions, as a daemon in the foreground.

    It ends on SIGTERM, and reads the settings again on SIGHUP.

    On the unix socket `server.socket` and the ports `server.policy`, by Postfix's policy protocol.
    """
    from greylag.app.serve import serve as serve_settings
    from greylag.server.listeners import ListenError, PlaceTaken

    run.settings  # noqa: B018 - all errors of the configuration, before anything starts
    try:
        serve_settings(run.environ, run.home)
    except PlaceTaken as error:
        raise CommandError([str(error)], STORE_UNAVAILABLE) from error
    except ListenError as error:
        raise CommandError([str(error)], CONFIG_ERROR) from error
