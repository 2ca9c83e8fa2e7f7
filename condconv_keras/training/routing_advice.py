"""What is said of routers that do not learn, and what to do: one line for each kind of trouble."""

from condconv_keras.routing_statistics.statistics import mean_of_layers
from condconv_keras.utils.errors import warn

# The weights of an image then differ from those of another by a hundredth: the experts act as one kernel. As built the
# routers of a network start with more, and those of one that learns have ten times as much.
CONSTANT_SPREAD = 0.01
_GENTLER = "`router_learning_rate=0.1`, `routing_temperature=30`, `expert_start='alike'` or `clip_norm=1`"


class RoutingAdvice:
    """Warns of each kind of trouble at most once: of dead experts, of constant routing, of weights that are not finite.

    No expert is called dead and no routing constant after the first epoch, in which routers find their range.

    Args:
        sigmoid: whether the routers are sigmoids. Others, whose weights are small where there are many experts, are
            called neither dead nor constant.
        settled: the first epoch, from 0, whose routing is to differ between images: the one after the warm-up.
    """

    def __init__(self, sigmoid, settled):
        self._sigmoid = sigmoid
        self._settled = settled
        self._said = set()

    def give(self, epoch, images, layers):
        """Says what is to be said of an epoch, from 0.

        Args:
            epoch: the epoch.
            images: number of images that were measured.
            layers: sequence of `LayerStatistics`, or None where a weight is not finite.
        """
        if layers is None:
            self._say("not finite", _not_finite(epoch))
        elif self._sigmoid and epoch > 0:
            if any(layer.dead for layer in layers):
                self._say("dead", _dead(epoch, images, layers))
            if epoch >= self._settled and max(layer.spread for layer in layers) < CONSTANT_SPREAD:
                self._say("constant", _constant(epoch, layers))

    def _say(self, kind, text):
        if kind not in self._said:
            self._said.add(kind)
            warn(text)


def _dead(epoch, images, layers):
    worst = max(layers, key=lambda layer: len(layer.dead))
    others = sum(len(layer.dead) for layer in layers) - len(worst.dead)
    verb = "is" if len(worst.dead) == 1 else "are"
    elsewhere = f" (and {others} of other layers)" if others else ""
    return (
        f"{len(worst.dead)} of {worst.experts} experts of {worst.name}{elsewhere} {verb} on for none of {images} "
        f"held-out images after epoch {epoch + 1}: the router learned too fast, and they hardly learn any more; "
        f"try {_GENTLER}, or a lower `learning_rate`, in a new run"
    )


def _constant(epoch, layers):
    start = (
        f"every image has nearly the same routing weights after epoch {epoch + 1} (a spread below {CONSTANT_SPREAD:g} "
        "in all layers): the experts act as one kernel"
    )
    if mean_of_layers(layers, "saturation") > 0.5:
        return f"{start}, as their weights are close to 0 or 1; try {_GENTLER}, in a new run"
    return f"{start}; try more `epochs` or a higher `learning_rate`"


def _not_finite(epoch):
    return (
        f"the routing weights of held-out images are not finite after epoch {epoch + 1}, no figures of them are kept; "
        "try a lower `learning_rate`, in a new run"
    )
