"""What a recipe says of experts and routers, applied to a network."""

from condconv_keras.utils.errors import UserError, one_line, warn
from condconv_keras.utils.lazy import LazyModule

layers = LazyModule("condconv_keras.layers")
folding = LazyModule("condconv_keras.layers.folding")
all_routers = LazyModule("condconv_keras.layers.routers")
expert_start = LazyModule("condconv_keras.weights.expert_start")


def with_recipe(network, recipe, starts_anew):
    """Returns a network whose routers have the options of a `Recipe`, and whose experts start as it says.

    Args:
        network: functional model as it was built.
        recipe: `Recipe`.
        starts_anew: whether the network has initial values, and not those of a file.

    Returns:
        The network itself where it has no router or the recipe says nothing of routers, else a copy.

    Raises:
        UserError: the experts of the network cannot start as the recipe says.
    """
    if not all_routers.routers(network):
        return network
    options = router_options(recipe)
    try:
        network = layers.with_routing(network, **options) if options else network
    except ValueError as error:
        raise UserError(one_line(error)) from error
    if starts_anew:
        if recipe.expert_start != "independent":
            expert_start.start_as_plain(network)
        if recipe.router_scale != 1:
            expert_start.scale_routers(network, recipe.router_scale)
    return network


def warn_of_pinned(network):
    """Says on one line that the weights of a network come from anchored experts, if its recipe does not anchor them."""
    routers = [router for _, router in all_routers.routers(network)]
    if any(folding.is_pinned(router) for router in routers if not router.options.anchored):
        warn(
            "the weights come from anchored experts, and the weight of the first expert is trained like those of the "
            "others now: `expert_start='anchored'` with the .keras file keeps it at 1"
        )


def router_options(recipe):
    """Returns the arguments of `Routing` that a `Recipe` asks for, a dict; empty for the authors' routers."""
    wanted = {
        "temperature": recipe.routing_temperature if recipe.routing_temperature != 1 else None,
        "normalize_inputs": recipe.router_normalization,
        "anchored": recipe.expert_start == "anchored",
        "expert_dropout": recipe.expert_dropout,
        "diversity_penalty": recipe.expert_diversity,
        "balance_penalty": recipe.expert_balance,
    }
    return {name: value for name, value in wanted.items() if value}


def router_weights(network):
    """Returns the trainable variables of a network's routers."""
    return [v for _, router in all_routers.routers(network) for v in expert_start.columns_of(router)]
