"""The parts of the command line, which `fkd.compare.command` is: its words, its console."""
