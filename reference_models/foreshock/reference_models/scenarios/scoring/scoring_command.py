"""What `foreshock scenarios score` does once its options are read."""

import sys
from pathlib import Path
from typing import Final

from foreshock.reference_models import plain_json
from foreshock.reference_models.errors import ModelsError
from foreshock.reference_models.scenarios.scoring.baselines.published import baselines, missing_baselines
from foreshock.reference_models.scenarios.scoring.foreshock import Foreshock
from foreshock.reference_models.scenarios.scoring.score import score
from foreshock.reference_models.scenarios.scoring.scoring_options import ScoringOptions

REFUSED: Final = 2


def score_command(directory: Path, options: ScoringOptions, *, out: Path | None, as_json: bool) -> int:
    """Scores, prints, writes; 1 where a record is damaged."""
    try:
        board = score(directory, (Foreshock(), *baselines()), options, missing=missing_baselines())
        told = plain_json.dump(board.as_dict())
        if out is not None:
            out.write_text(told)
    except (ModelsError, OSError) as error:
        print(f"foreshock scenarios score: {error}", file=sys.stderr)
        return REFUSED
    print(told)
    return 1 if board.folder.damaged else 0
