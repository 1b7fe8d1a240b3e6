"""Placeholder for torch.nn.functional: attribute errors name the equivalent functions of `tinytensor`."""

from typing import TYPE_CHECKING

import tinytensor.api as tt
from tinytensor.argument_errors import FUNCTIONS, missing

if not TYPE_CHECKING:

    def __getattr__(name):
        ours = {"binary_cross_entropy_with_logits": "tt.bce_with_logits", "nll_loss": "tt.nll_loss"}
        missing(__name__, FUNCTIONS | ours | {name: f"tt.{name}" for name in tt.__all__}, name)
