"""History: any range of any family as a frame, at the resolution that fits.

Where the numbers come from is `hps_platform.store.seam` (tables or archive) and `store.series` (raw rows or rollups);
what is newer than a commit of landing is in the live tail, not here.
"""

from hps_platform.history.availability import Availability, availability
from hps_platform.history.cache import cached
from hps_platform.history.exports import MEDIA as EXPORT_MEDIA
from hps_platform.history.exports import export
from hps_platform.history.fleet import OVERVIEW_COLUMNS, overview, top
from hps_platform.history.provenance import Sources, trace
from hps_platform.history.query import MAX_ROWS, Answer, How, Question, answer, asked, query

__all__ = [
    "EXPORT_MEDIA",
    "MAX_ROWS",
    "OVERVIEW_COLUMNS",
    "Answer",
    "Availability",
    "How",
    "Question",
    "Sources",
    "answer",
    "asked",
    "availability",
    "cached",
    "export",
    "overview",
    "query",
    "top",
    "trace",
]
