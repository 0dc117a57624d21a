"""`greylag completion`: the script that lets a shell complete greylag's commands and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from greylag.cli.common import Run, examples, json_option
from greylag.cli.output import write_json

SHELLS = ("bash", "zsh", "fish")
_VARIABLE = "_GREYLAG_COMPLETE"  # what click's `main` listens to


@click.command(
    epilog=examples(
        'eval "$(greylag completion bash)"    # in ~/.bashrc',
        "greylag completion fish > ~/.config/fish/completions/greylag.fish",
    )
)
@click.argument("shell", metavar="SHELL", type=click.Choice(SHELLS))
@json_option
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the completion script for a shell."""
    found = get_completion_class(shell)
    assert found is not None, "click knows all of SHELLS"
    completer = found(context.find_root().command, {}, "greylag", _VARIABLE)
    # Not completer.source(): for bash that runs the bash on the PATH to ask for its version.
    script = completer.source_template % completer.source_vars()
    if context.ensure_object(Run).json:
        write_json({"shell": shell, "script": script})
    else:
        click.echo(script)
