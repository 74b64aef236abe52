"""`python -m converter.cli SOURCE TARGET`: the first of the commands."""

from converter.cli.programs import convert_weights

convert_weights()
