"""What mypy refuses: the comment of a line is a part of what it says of it."""

import condconv_keras
from condconv_keras import CondConv2D, create_model, data, list_models, load_model
from condconv_keras.profiling import profile
from condconv_keras.training import get_recipe

create_model(3)  # incompatible type "int"; expected "str"
create_model("mobilenet_v1", num_expert=4)  # Unexpected keyword argument "num_expert"
create_model("mobilenet_v1", classes="ten")  # incompatible type "str"; expected "int"
create_model("mobilenet_v1", padding="valid")  # expected "Literal['same', 'symmetric']"
CondConv2D(64, 3, num_experts=8, padding="full")  # expected "Literal['valid', 'same']"
CondConv2D(64, 3, num_experts=8, implementation="fastest")  # incompatible type "Literal['fastest']"
data.Preprocessing((28, 28), 1, 127.5, 127.5, "nearest")  # expected "Literal['bicubic', 'bilinear']"
names: str = list_models()  # expression has type "list[str]", variable has type "str"
print(load_model("runs/digits")[1].label)  # Item "ModelCard" of "ModelCard | Any" has no attribute "label"
data.open_dataset("digits").class_count("train")  # "ImageDataset" has no attribute "class_count"
batch: str = get_recipe("digits").batch_size  # expression has type "int", variable has type "str"
print(profile(create_model("mobilenet_v1")).flops)  # "Profile" has no attribute "flops"
condconv_keras.create_modell("mobilenet_v1")  # Module has no attribute "create_modell"
data.no_such_name()  # Module has no attribute "no_such_name"
