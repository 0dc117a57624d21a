"""The commands: `greylag`, and the plugins `greylisting` and `ifauthskip`."""
