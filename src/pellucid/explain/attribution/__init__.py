"""Which columns, pixels or words carried each answer? One verb, one result, every architecture.

:func:`attribute` asks in the way that fits the model, by default with integrated gradients: at the input for numbers
and images, at the embedding for text. Every attribution of a method that claims to add up carries its completeness
gap, and is refused where that is too large.

========================== ============================== ======== ===============================================
method                     for                            adds up  says how sure it is
========================== ============================== ======== ===============================================
integrated_gradients       whatever has a gradient        yes      completeness gap
gradient_shap              the same, many baselines       yes      gap, standard error of the draws
deep_lift                  modules with an exact rule     yes      gap; :func:`preflight` says which modules
shapley_sampling           anything                       yes      gap, standard error (0 if all orders are taken)
kernel_shap                anything, many baselines       yes      gap, standard error (0 if all coalitions are)
occlusion                  anything; images: patches      no       exact
grad_cam                   convolutional networks         no       nothing
layer_integrated_gradients an embedding of tokens         yes      completeness gap
token_occlusion            an embedding of tokens         no       exact
========================== ============================== ======== ===============================================

Attention weights are not offered. They say what a layer mixed, not what the answer depends on: other weights give the
same answer (Jain and Wallace 2019, NAACL), and after one layer a position no longer holds its own word alone. They are
not complete, and no baseline belongs to them.
"""

from __future__ import annotations

from pellucid.explain.attribution.completeness import Gap
from pellucid.explain.attribution.images import patches
from pellucid.explain.attribution.path import integrated_gradients
from pellucid.explain.attribution.preflight import Preflight, preflight
from pellucid.explain.attribution.result import Attribution, by_column
from pellucid.explain.attribution.verb import again, attribute

__all__ = [
    "Attribution",
    "Gap",
    "Preflight",
    "again",
    "attribute",
    "by_column",
    "integrated_gradients",
    "patches",
    "preflight",
]
