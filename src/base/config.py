"""What a run may be asked to do: the schema of its sections, and the guarded build of its parts."""

import difflib
import importlib
import inspect
import re
import sys
import typing
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, create_model

from src.base.errors import LONGEST, ConfigError, attempt, cut, did_you_mean, reason_of, shown
from src.base.renamed import KEYS

# Only what these packages define is ever built from a config, wherever it comes from, unless the user allows more.
ALLOWED_PACKAGES = ("src.", "torch.nn.", "torch.optim.", "albumentations.")

# Names of options stand in the names of folders.
NAME = r"^[A-Za-z0-9_][A-Za-z0-9_.+-]{0,39}$"
MOST_PROBLEMS = 100  # that are told; a stranger's file may have any number of them
OptionName = Annotated[str, Field(pattern=NAME)]


# pydantic's locations name the member of a union that was tried, as `float` or the kind of data: no key of the user's.
_UNION_LABEL = re.compile(
    r"oxford_pet|synthetic|folder|int|float|str|bool|none|(is-instance|literal|tuple|list|dict)\[.*"
)


Above0 = Annotated[float, Field(gt=0)]
AtLeast0 = Annotated[float, Field(ge=0)]
Below1 = Annotated[float, Field(ge=0, lt=1)]  # and at least 0
Between0And1 = Annotated[float, Field(gt=0, lt=1)]
Switch = Annotated[bool, BeforeValidator(lambda given: False if given is None else given)]  # null is off too
PackageName = Annotated[str, Field(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$")]


def _expanded(path: str) -> str:
    try:
        return str(Path(path).expanduser()) if path.startswith("~") else path
    except RuntimeError as error:
        raise ValueError("this user does not exist") from error


UserPath = Annotated[str, Field(min_length=1), AfterValidator(_expanded)]  # may begin with ~


def neutral(default: Any = ..., **limits: Any) -> Any:
    """A field that does not count for ids: it cannot change a result, or only through the data's fingerprint."""
    return Field(default, json_schema_extra={"neutral": True}, **limits)


class Section(BaseModel):
    """A part of the config whose keys are known and fixed."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, coerce_numbers_to_str=True)


AnySection = TypeVar("AnySection", bound=BaseModel)


class DataSection(Section):
    """What every data set has: see conf/data for units and sources."""

    name: str = neutral()
    root: UserPath = neutral()
    image_size: int = Field(ge=8, le=4096)
    resize: Literal["pil_bilinear", "cv2_linear"] = "cv2_linear"  # the default is what records from before it used
    border: Literal["foreground", "background", "ignore", "random"]
    fold: int = Field(ge=0, le=9)
    mean: tuple[float, float, float]
    std: tuple[Above0, Above0, Above0]
    workers: int = neutral(ge=-1, le=1024)
    cache_dir: UserPath = neutral()
    decode_once: bool = neutral(True)  # with a default, so that records from before it still read
    on_error: Literal["raise", "skip"] = neutral("raise")  # which pairs are left out shows in the fingerprint


class OxfordPetData(DataSection):
    """Oxford-IIIT Pet in its official layout."""

    kind: Literal["oxford_pet"]
    download: bool = neutral()


class SyntheticData(DataSection):
    """Drawn animals in the same layout, made by the project itself."""

    kind: Literal["synthetic"]
    trainval: int = Field(ge=3)
    test: int = Field(ge=1)
    size: int = Field(ge=16)
    seed: int = Field(ge=0)


class FolderData(DataSection):
    """Any pair of folders images/ and masks/."""

    kind: Literal["folder"]
    mask_suffix: str | None = Field(default=None, min_length=1)
    exif: Annotated[Literal["ignore"] | None, BeforeValidator(lambda given: None if given == "apply" else given)] = None
    mask_threshold: float | None = Field(default=None, gt=0, lt=255)
    ignore_value: int | None = Field(default=None, ge=1, le=65535)


KINDS = {"oxford_pet": OxfordPetData, "synthetic": SyntheticData, "folder": FolderData}
AnyData = Annotated[OxfordPetData | SyntheticData | FolderData, Field(discriminator="kind")]


class _OnlyData(Section):
    data: AnyData


class AugmentationSection(Section):
    """Lists of albumentations transforms; see conf/augmentation."""

    name: OptionName
    load_scale: float = Field(ge=1.0, le=4.0)
    mask_as_image: bool
    transforms: list[dict[str, Any]]
    copies: int = Field(ge=0)
    copy_transforms: list[dict[str, Any]]


class MixSection(Section):
    """Images of a batch mixed with one another; see conf/mix."""

    name: str = neutral()
    method: Literal["mixup", "cutmix"]
    alpha: Above0


# Null is the default, so that ids do not depend on whether it is spelled out.
SelectBy = Annotated[
    Literal["valid_dice", "valid_dice_batch_flattened", "valid_loss"] | None,
    AfterValidator(lambda given: None if given == "valid_dice" else given),
]


SchedulerStep = Annotated[
    Literal["batch", "epoch"] | None, AfterValidator(lambda given: None if given == "epoch" else given)
]


class TrainerSection(Section):
    """How long, in which portions, and how it is scored; see conf/trainer."""

    name: str = neutral()
    epochs: int = Field(ge=1)
    batch_size: int = Field(ge=1)
    accumulate: int = Field(ge=1)
    clip_norm: float | None = Field(gt=0)
    early_stop_patience: int | None = Field(ge=1)
    keep_every: int | None = neutral(ge=1)
    checkpoint_seconds: float = neutral(60, ge=0)  # with a default, so that records from before it still read
    by_model: dict[str, dict[Literal["epochs", "batch_size"], int]] = neutral()  # acts through these keys
    ema_decay: float | None = Field(default=None, gt=0, lt=1)
    flip_tta: Switch = False
    select_by: SelectBy = None


class NumericsSection(Section):
    """Speed against bit-reproducibility; see conf/numerics."""

    name: str = neutral()
    deterministic: bool
    autocast: Literal["bfloat16"] | None
    channels_last: bool
    tf32: bool
    cpu_threads: int | None = Field(ge=1, le=1024)  # far more than any machine has cores; tens of thousands crash
    fused: Switch = False
    compile: Switch = False


class DebugSection(Section):
    """Short runs that show whether the chain works; see conf/debug."""

    name: str = neutral()
    limit_batches: int = Field(ge=1)
    overfit: bool


class SizeSection(Section):
    """Numbers that options of other groups look up instead of having them; see conf/size/small.yaml."""

    name: str
    epochs: int | None = None
    batch_size: int | None = None
    image_size: int | None = None
    width: int | None = None


class SweepSection(Section):
    """Where the runs of one sweep are kept, and whether failed ones are tried again."""

    name: str | None = Field(pattern=r"^[^./\\][^\\]*$")
    retry_failed: bool


class RunConfig(Section):
    """One run: what `python -m src.train` composes from conf/train.yaml."""

    seed: int = Field(ge=0, lt=2**32)
    device: str = neutral(pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$")
    output: UserPath = neutral()
    init_from: UserPath | None = neutral()  # the content of the file counts, wherever it lies
    allow_targets: tuple[PackageName, ...] = neutral(())  # with a default, so that records from before it still read
    tags: list[str] = neutral([])
    notes: str = neutral("")
    examples: int = neutral(2, ge=0, le=10)
    sweep: SweepSection = neutral()
    data: AnyData
    model: dict[str, Any]
    loss: dict[str, Any]
    optimizer: dict[str, Any]
    scheduler: dict[str, Any]
    augmentation: AugmentationSection
    mix: MixSection | None = None
    trainer: TrainerSection
    numerics: NumericsSection
    size: SizeSection | None = neutral(None)  # acts through the keys that look numbers up in it
    debug: DebugSection | None = None


class Named(Section):
    """What every built section has; the name is a part of ids and folders."""

    model_config = ConfigDict(extra="ignore", coerce_numbers_to_str=False)

    name: OptionName


@cache
def neutral_keys(section: str) -> frozenset[str]:
    """The keys of a section that do not count for ids, of each kind of data; none of one whose keys are free."""
    return frozenset(
        name
        for model in _models_of(section)
        for name, field in model.model_fields.items()
        if isinstance(field.json_schema_extra, dict) and field.json_schema_extra.get("neutral")
    )


def is_key(key: str) -> bool:
    """Whether a run has the dotted `key`, as far as its sections say which keys there are."""
    section, _, inner = key.partition(".")
    models = _models_of(section) if section in RunConfig.model_fields else []
    known = not models or not inner or any(inner.partition(".")[0] in model.model_fields for model in models)
    return section in RunConfig.model_fields and known


def _models_of(section: str) -> list[type[BaseModel]]:
    annotation = RunConfig.model_fields[section].annotation
    return [option for option in (annotation, *typing.get_args(annotation)) if _is_section(option)]


def parse_data(plain: dict[str, Any]) -> OxfordPetData | SyntheticData | FolderData:
    """The typed section `data` alone. Raises ConfigError with every problem."""
    return parse_section(_OnlyData, {"data": plain}).data


def parse_section(model: type[AnySection], plain: dict[str, Any], prefix: str = "") -> AnySection:
    """`plain` as a `model`. Raises ConfigError with every problem, its key named with `prefix` in front."""
    try:
        return model.model_validate(plain)
    except ValidationError as error:
        raise ConfigError(_lines(error, model, prefix)) from error


def problems_of(model: type[BaseModel], plain: dict[str, Any], prefix: str = "") -> list[str]:
    """One line for each key of `plain` that is unknown, missing, of a wrong type or out of range in a `model`."""
    problems: list[str] = []
    attempt(problems, lambda: parse_section(model, plain, prefix))
    return problems


def with_named_packages(plain: dict[str, Any]) -> dict[str, Any]:
    """The config `plain` of the command line and its config folders, which may name any package: all are allowed.

    Not for a record's config, which comes from anywhere.
    """
    given = plain.get("allow_targets", [])
    if not isinstance(given, list | tuple):  # the schema tells
        return plain
    named = {target.partition(".")[0] for target in _targets(plain) if re.fullmatch(r"[A-Za-z_]\w*(\.\w+)+", target)}
    ours = {package.partition(".")[0] for package in ALLOWED_PACKAGES}
    covered = {str(package).partition(".")[0] for package in given}
    return {**plain, "allow_targets": [*given, *sorted(named - ours - covered)]}


def _targets(node: Any) -> Iterator[str]:
    """Every `_target_` in `node`, however deep."""
    if isinstance(node, dict):
        if isinstance(node.get("_target_"), str):
            yield node["_target_"]
        node = list(node.values())
    for item in node if isinstance(node, list) else ():
        yield from _targets(item)


def find_target(node: dict[str, Any], base: type | UnionType, allow_targets: Sequence[str] = ()) -> type:
    """The class that `node["_target_"]` names, if it may be built at all.

    It must be a subclass of `base` that an allowed package defines: an alias of something foreign does not count.
    `allow_targets`: dotted names of packages or modules that are allowed beside ours; what lies in them is imported.
    Raises ConfigError naming what it got and what is allowed.
    """
    path = node.get("_target_")
    packages = (*ALLOWED_PACKAGES, *(f"{package}." for package in allow_targets))
    if not isinstance(path, str) or not path.startswith(packages):
        allowed = f"allowed are names under {', '.join(packages)} (allow_targets=[my_package] adds to them)"
        raise ConfigError([f"_target_: got {shown(path)}; {allowed}"])
    module_path, _, name = path.rpartition(".")
    try:
        target = getattr(importlib.import_module(module_path), name)
    except (Exception, SystemExit) as error:  # a user's module may raise anything, and a script ends by itself
        close = difflib.get_close_matches(name, dir(sys.modules.get(module_path)), n=1)
        hint = f"; did you mean {module_path}.{close[0]}?" if close else ""
        reason = reason_of(error) if isinstance(error, SystemExit) else f"{type(error).__name__}: {error}"
        raise ConfigError([f"_target_: got {shown(path)}, which cannot be found ({reason}){hint}"]) from error
    defined_in = f"{getattr(target, '__module__', None)}."
    if not (inspect.isclass(target) and issubclass(target, base) and defined_in.startswith(packages)):
        raise ConfigError([f"_target_: got {shown(path)}, which is not a {_names(base)} of an allowed package"])
    return target


def node_problems(
    section: str,
    node: dict[str, Any],
    base: type | UnionType,
    injected: tuple[str, ...],
    allow_targets: Sequence[str] = (),
) -> list[str]:
    """One line for each key of a built node that its target does not take, misses or would take in another type."""
    try:
        target = find_target(node, base, allow_targets)
    except ConfigError as error:
        return [f"{section}.{problem}" for problem in error.problems]
    model = _signature_model(target, injected)
    problems = problems_of(model, _known_arguments(node, model), f"{section}.")
    return problems + problems_of(Named, node, f"{section}.")


def build(node: dict[str, Any], base: type | UnionType, allow_targets: Sequence[str] = (), **injected: Any) -> Any:
    """Calls the target of `node` with its arguments (cast to the types its signature names) and `injected`.

    `allow_targets`: as of `find_target`. Raises ConfigError when `node` names something outside the allow-list or does
    not fit the signature.
    """
    target = find_target(node, base, allow_targets)
    model = _signature_model(target, tuple(injected))
    arguments = parse_section(model, _known_arguments(node, model))
    parameters = _signature(target).parameters
    values = {
        key: _converted(getattr(arguments, key), parameters[key].annotation) for key in arguments.model_fields_set
    }
    return target(**values, **{key: value for key, value in injected.items() if key in parameters})


def _converted(value: Any, hint: Any) -> Any:
    """`value`, a list of numbers, as the tensor that `hint` asks for."""
    tensor = _tensor_in(hint)
    return value if tensor is None or not isinstance(value, list) else tensor(value)


def _tensor_in(hint: Any) -> type | None:
    """The class torch.Tensor, if it is what `hint` takes beside None."""
    options = [option for option in typing.get_args(hint) or (hint,) if option is not type(None)]
    return options[0] if [str(option) for option in options] == ["<class 'torch.Tensor'>"] else None


def cast_arguments(
    node: dict[str, Any], base: type | UnionType, injected: tuple[str, ...], allow_targets: Sequence[str] = ()
) -> dict[str, Any]:
    """`node` with every argument in the type its target's signature names, so that 1 and 1.0 are one setting.

    What is on unless it is turned off is spelled out, since ids take what is absent for off.
    """
    model = _signature_model(find_target(node, base, allow_targets), injected)
    arguments = _known_arguments(node, model)
    cast = model.model_validate(arguments)
    on = [key for key, field in model.model_fields.items() if field.default is True and key not in arguments]
    head = {key: node[key] for key in node if key in ("name", "_target_")}
    return head | {key: getattr(cast, key) for key in [*arguments, *on]}


def _known_arguments(node: dict[str, Any], model: type[BaseModel]) -> dict[str, Any]:
    """The arguments of `node`, without null or false for what the target does not know, or null for what is off."""
    fields = model.model_fields
    arguments = {key: value for key, value in node.items() if key not in ("name", "_target_")}

    def is_off(key: str, value: Any) -> bool:
        if key not in fields:
            return value is None or value is False
        return value is None and fields[key].default is False

    return {key: value for key, value in arguments.items() if not is_off(key, value)}


@cache
def _signature_model(target: type, injected: tuple[str, ...]) -> type[BaseModel]:
    fields: dict[str, Any] = {}
    for name, parameter in _signature(target).parameters.items():
        if name in injected or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if name.startswith("_"):  # as of torch.nn.Embedding: its own business, and no name for a field
            continue
        hint, default = parameter.annotation, parameter.default
        if _tensor_in(hint) is not None:  # YAML has no tensors
            hint = list[float] | None
        fields[name] = (Any if hint is parameter.empty else hint, ... if default is parameter.empty else default)
    if any(kind.__name__ == "LRScheduler" for kind in target.__mro__):
        fields["step"] = (SchedulerStep, None)  # no argument of theirs: when the loop moves them
    settings = ConfigDict(extra="forbid", arbitrary_types_allowed=True, protected_namespaces=(), allow_inf_nan=False)
    return create_model(target.__name__, __config__=settings, **fields)


def _signature(target: type) -> inspect.Signature:
    try:
        return inspect.signature(target, eval_str=True)
    except (NameError, TypeError):  # names types that are not there as the program runs
        signature = inspect.signature(target)
        untyped = [one.replace(annotation=one.empty) for one in signature.parameters.values()]
        return signature.replace(parameters=untyped)


def _lines(error: ValidationError, model: type[BaseModel], prefix: str) -> list[str]:
    lines: dict[str, str] = {}
    for detail in error.errors(include_url=False)[:MOST_PROBLEMS]:
        key = cut(prefix + ".".join(str(part) for part in detail["loc"] if not _UNION_LABEL.fullmatch(str(part))))
        if detail["type"] == "extra_forbidden" and key in KEYS:
            line = f"{key}: renamed to {KEYS[key]}"
        elif detail["type"] == "extra_forbidden":
            line = f"{key}: unknown key (got {shown(detail['input'])}); {_known_keys(model, detail['loc'])}"
        elif detail["type"] == "missing":
            line = f"{key}: missing"
        else:
            message = detail["msg"].removeprefix("Value error, ")[:LONGEST]  # it may repeat what it got
            message = message.partition(" or instance of ")[0]  # a class of ours, of which users know nothing
            line = f"{key}: got {shown(detail['input'])}; {message[0].lower()}{message[1:]}"
        lines.setdefault(key, line)  # a union complains once for each of its members: the first is enough
    return list(lines.values())


def _known_keys(model: Any, location: Sequence[str | int]) -> str:
    for part in location[:-1]:
        if part in KINDS:  # the tag of the union
            model = KINDS[str(part)]
        else:
            annotation = model.model_fields[str(part)].annotation
            model = next(option for option in (annotation, *typing.get_args(annotation)) if _is_section(option))
    return did_you_mean(str(location[-1]), sorted(model.model_fields))


def _names(base: type | UnionType) -> str:
    return " or ".join(option.__qualname__ for option in typing.get_args(base) or (base,))


def _is_section(annotation: Any) -> bool:
    return inspect.isclass(annotation) and issubclass(annotation, BaseModel)
