"""The model that the devices begin with: named float32 arrays, of any number and shape."""

import numpy as np
from numpy.typing import NDArray

FEATURES = 2


def initial_model() -> dict[str, NDArray[np.float32]]:
    """Logistic regression: one weight for each feature, and a bias."""
    return {"weights": np.zeros(FEATURES, np.float32), "bias": np.zeros(1, np.float32)}
