"""The sections whose tables are made of ``Line``s, in the order of the page."""

from bench.section import Section
from bench.sections import gateways, idle, jobs, million, models, startup, sums, tail

SECTIONS: tuple[Section, ...] = (
    million.SECTION,
    models.SECTION,
    sums.SECTION,
    jobs.SECTION,
    gateways.SECTION,
    tail.SECTION,
    idle.SECTION,
    startup.SECTION,
)
