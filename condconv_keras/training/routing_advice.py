"""What is said of routers that do not learn, and what to do: one line for each kind of trouble."""

from condconv_keras.routing_statistics.statistics import mean_of_layers
from condconv_keras.utils.errors import warn

# The weights of an image then differ from those of another by a hundredth: the experts act as one kernel. As built the
# routers of a network start with more, and those of one that learns have ten times as much.
CONSTANT_SPREAD = 0.01


class RoutingAdvice:
    """Warns of each kind of trouble at most once: of dead experts, of constant routing, of weights that are not finite.

    No expert is called dead and no routing constant after the first epoch, or before the warm-up and the temperature of
    the recipe are over: until then routers find their range, and experts that are off come back.

    Args:
        sigmoid: whether the routers are sigmoids. Others, whose weights are small where there are many experts, are
            called neither dead nor constant.
        recipe: `Recipe` of the run.
        starts_anew: whether the run starts from initial values, and not from those of a file.
    """

    def __init__(self, sigmoid, recipe, starts_anew):
        self._sigmoid = sigmoid
        self._recipe = recipe
        self._settled = _first_settled(recipe)
        self._gentler = gentler(recipe, starts_anew)
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
        elif self._sigmoid and epoch >= max(self._settled, 1):
            if any(layer.dead for layer in layers):
                self._say("dead", self._dead(epoch, images, layers))
            if max(layer.spread for layer in layers) < CONSTANT_SPREAD:
                self._say("constant", self._constant(epoch, layers))

    def _say(self, kind, text):
        if kind not in self._said:
            self._said.add(kind)
            warn(text)

    def _dead(self, epoch, images, layers):
        worst = max(layers, key=lambda layer: len(layer.dead))
        others = sum(len(layer.dead) for layer in layers) - len(worst.dead)
        verb = "is" if len(worst.dead) == 1 else "are"
        elsewhere = f" (and {others} of other layers)" if others else ""
        return (
            f"{len(worst.dead)} of {worst.experts} experts of {worst.name}{elsewhere} {verb} on for none of {images} "
            f"held-out images after epoch {epoch + 1}: the router learned too fast, and they hardly learn any more; "
            f"try {_one_of([*self._gentler, 'a lower `learning_rate`'])}, in a new run"
        )

    def _constant(self, epoch, layers):
        start = (
            f"every image has nearly the same routing weights after epoch {epoch + 1} (a spread below "
            f"{CONSTANT_SPREAD:g} in all layers): the experts act as one kernel"
        )
        if mean_of_layers(layers, "saturation") > 0.5:
            gentler = _one_of(self._gentler or ["a lower `learning_rate`"])
            return f"{start}, as their weights are close to 0 or 1; try {gentler}, in a new run"
        faster = ["a higher `router_learning_rate`"] if self._recipe.router_learning_rate < 1 else []
        return f"{start}; try {_one_of(['more `epochs`', *faster, 'a higher `learning_rate`'])}"


def gentler(recipe, starts_anew):
    """What would keep the routers of a run from learning too fast, best first: words for each, a list.

    What the recipe does already is left out. So is how experts start where a file decides that.
    Routers of zeros and a slower rate are what kept all experts in use in the study of docs/when-experts-pay.md.

    Args:
        recipe, starts_anew: as of `RoutingAdvice`.
    """
    independent = starts_anew and recipe.expert_start == "independent" and recipe.router_scale > 0
    rate = recipe.router_learning_rate
    slower = 0.3 if rate > 0.3 else 0.1
    remedies = {
        "`router_scale=0`": independent,
        f"`router_learning_rate={slower}`": rate > slower,
        "`routing_temperature=30`": recipe.routing_temperature == 1,
        "`expert_start='alike'`": independent,
        "`clip_norm=1`": recipe.clip_norm is None or recipe.clip_norm > 1,
    }
    return [words for words, changes_something in remedies.items() if changes_something]


def _one_of(words):
    *others, last = words
    return f"{', '.join(others)} or {last}" if others else last


def _first_settled(recipe):
    """The first epoch, from 0, that a recipe trains whole, at its full rate and without a temperature."""
    annealed = recipe.temperature_epochs if recipe.routing_temperature > 1 else 0
    return max(recipe.warmup_epochs, recipe.freeze_epochs, annealed)


def _not_finite(epoch):
    return (
        f"the routing weights of held-out images are not finite after epoch {epoch + 1}, no figures of them are kept; "
        "try a lower `learning_rate`, in a new run"
    )
