"""The sections whose tables are made of ``Line``s, in the order of the page."""

from bench.section import Section
from bench.sections import million

SECTIONS: tuple[Section, ...] = (million.SECTION,)
