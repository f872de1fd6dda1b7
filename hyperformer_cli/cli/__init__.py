"""Floor 4: one thin file per subcommand: parse, call one function, render."""
