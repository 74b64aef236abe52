"""`python -m converter.cli SOURCE TARGET`: the first of the commands."""

from converter.cli import convert_weights

convert_weights()
