"""The noise of statistics: OpenDP's discrete Gaussian, and the only door to it.

Sums are whole numbers, and so is the noise, which OpenDP draws exactly (Canonne, Kamath & Steinke 2020, arXiv
2004.00010) from the system's secure generator; its proof covers the sampler and the privacy map. One unit of
sensitivity is :data:`FINE` steps of the lattice, so that the discrete Gaussian is the continuous one but for a
relative difference of its hockey-stick divergence far below what claims are rounded by: the accountants may take it
for the Gaussian mechanism of the events.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pellucid.errors import Misuse, PellucidError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["FINE", "gaussian"]

FINE: Final = 2**20
"""Steps of the lattice in one unit of sensitivity."""
_MOST: Final = 2**61


def gaussian(sums: npt.NDArray[np.int64], noise_multiplier: float) -> npt.NDArray[np.float64]:
    """``sums`` with discrete Gaussian noise of deviation ``noise_multiplier`` units, as numbers of units.

    Args:
        sums: (K,) in steps of 1/:data:`FINE`; a person changes it by a vector of L2 norm at most ``FINE``.
        noise_multiplier: Above 0.

    Returns:
        (K,) noisy sums in units, float64.

    Raises:
        Misuse: The sums are not int64, or so large that noise could overflow.
        PellucidError: OpenDP's privacy map says that this noise protects less than was accounted for.
    """
    import numpy as np
    from opendp.domains import atom_domain, vector_domain
    from opendp.measurements import make_gaussian
    from opendp.metrics import l2_distance
    from opendp.mod import enable_features

    if sums.ndim != 1 or sums.dtype != np.int64 or not ((sums > -_MOST) & (sums < _MOST)).all():
        raise Misuse("sums must be a flat array of int64, each below 2**61", where="statistics")
    enable_features("contrib")
    measure = make_gaussian(vector_domain(atom_domain(T="i64")), l2_distance(T="f64"), scale=noise_multiplier * FINE)
    accounted = 1 / (2 * noise_multiplier**2)  # zero-concentrated: what the Gaussian event of the plan has
    if not measure.map(float(FINE)) <= accounted * (1 + 1e-9):
        raise PellucidError("OpenDP's proof covers less than was accounted for", where="noise", fix="report this")
    return np.asarray(measure(sums), dtype=np.float64) / FINE
