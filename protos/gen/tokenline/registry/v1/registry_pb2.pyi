import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Unit(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    UNIT_UNSPECIFIED: _ClassVar[Unit]
    UNIT_TOKEN: _ClassVar[Unit]
    UNIT_POINT: _ClassVar[Unit]
    UNIT_CURRENCY: _ClassVar[Unit]

class ReservationPolicy(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RESERVATION_POLICY_UNSPECIFIED: _ClassVar[ReservationPolicy]
    RESERVATION_POLICY_WORST_CASE: _ClassVar[ReservationPolicy]
UNIT_UNSPECIFIED: Unit
UNIT_TOKEN: Unit
UNIT_POINT: Unit
UNIT_CURRENCY: Unit
RESERVATION_POLICY_UNSPECIFIED: ReservationPolicy
RESERVATION_POLICY_WORST_CASE: ReservationPolicy

class Vendor(_message.Message):
    __slots__ = ("vendor_id", "display_name", "base_url", "api_key_env", "base_url_env")
    VENDOR_ID_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    BASE_URL_FIELD_NUMBER: _ClassVar[int]
    API_KEY_ENV_FIELD_NUMBER: _ClassVar[int]
    BASE_URL_ENV_FIELD_NUMBER: _ClassVar[int]
    vendor_id: str
    display_name: str
    base_url: str
    api_key_env: str
    base_url_env: str
    def __init__(self, vendor_id: _Optional[str] = ..., display_name: _Optional[str] = ..., base_url: _Optional[str] = ..., api_key_env: _Optional[str] = ..., base_url_env: _Optional[str] = ...) -> None: ...

class TokenizerFamily(_message.Message):
    __slots__ = ("family_id", "letters_per_token_milli", "tokens_per_cjk_character_milli", "template_tokens_per_message", "template_tokens_per_request")
    FAMILY_ID_FIELD_NUMBER: _ClassVar[int]
    LETTERS_PER_TOKEN_MILLI_FIELD_NUMBER: _ClassVar[int]
    TOKENS_PER_CJK_CHARACTER_MILLI_FIELD_NUMBER: _ClassVar[int]
    TEMPLATE_TOKENS_PER_MESSAGE_FIELD_NUMBER: _ClassVar[int]
    TEMPLATE_TOKENS_PER_REQUEST_FIELD_NUMBER: _ClassVar[int]
    family_id: str
    letters_per_token_milli: int
    tokens_per_cjk_character_milli: int
    template_tokens_per_message: int
    template_tokens_per_request: int
    def __init__(self, family_id: _Optional[str] = ..., letters_per_token_milli: _Optional[int] = ..., tokens_per_cjk_character_milli: _Optional[int] = ..., template_tokens_per_message: _Optional[int] = ..., template_tokens_per_request: _Optional[int] = ...) -> None: ...

class Route(_message.Message):
    __slots__ = ("vendor_id", "vendor_model_id", "priority")
    VENDOR_ID_FIELD_NUMBER: _ClassVar[int]
    VENDOR_MODEL_ID_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    vendor_id: str
    vendor_model_id: str
    priority: int
    def __init__(self, vendor_id: _Optional[str] = ..., vendor_model_id: _Optional[str] = ..., priority: _Optional[int] = ...) -> None: ...

class Model(_message.Message):
    __slots__ = ("model_id", "display_name", "owned_by", "context_window_tokens", "max_output_tokens", "family_id", "release_time", "routes", "hidden_reasoning")
    MODEL_ID_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    OWNED_BY_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_WINDOW_TOKENS_FIELD_NUMBER: _ClassVar[int]
    MAX_OUTPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    FAMILY_ID_FIELD_NUMBER: _ClassVar[int]
    RELEASE_TIME_FIELD_NUMBER: _ClassVar[int]
    ROUTES_FIELD_NUMBER: _ClassVar[int]
    HIDDEN_REASONING_FIELD_NUMBER: _ClassVar[int]
    model_id: str
    display_name: str
    owned_by: str
    context_window_tokens: int
    max_output_tokens: int
    family_id: str
    release_time: _timestamp_pb2.Timestamp
    routes: _containers.RepeatedCompositeFieldContainer[Route]
    hidden_reasoning: bool
    def __init__(self, model_id: _Optional[str] = ..., display_name: _Optional[str] = ..., owned_by: _Optional[str] = ..., context_window_tokens: _Optional[int] = ..., max_output_tokens: _Optional[int] = ..., family_id: _Optional[str] = ..., release_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., routes: _Optional[_Iterable[_Union[Route, _Mapping]]] = ..., hidden_reasoning: _Optional[bool] = ...) -> None: ...

class TokenRates(_message.Message):
    __slots__ = ("input", "cached_input", "cache_write", "output", "reasoning")
    INPUT_FIELD_NUMBER: _ClassVar[int]
    CACHED_INPUT_FIELD_NUMBER: _ClassVar[int]
    CACHE_WRITE_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    REASONING_FIELD_NUMBER: _ClassVar[int]
    input: int
    cached_input: int
    cache_write: int
    output: int
    reasoning: int
    def __init__(self, input: _Optional[int] = ..., cached_input: _Optional[int] = ..., cache_write: _Optional[int] = ..., output: _Optional[int] = ..., reasoning: _Optional[int] = ...) -> None: ...

class ContextTier(_message.Message):
    __slots__ = ("above_input_tokens", "rates")
    ABOVE_INPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    RATES_FIELD_NUMBER: _ClassVar[int]
    above_input_tokens: int
    rates: TokenRates
    def __init__(self, above_input_tokens: _Optional[int] = ..., rates: _Optional[_Union[TokenRates, _Mapping]] = ...) -> None: ...

class ModelRates(_message.Message):
    __slots__ = ("model_id", "tiers")
    MODEL_ID_FIELD_NUMBER: _ClassVar[int]
    TIERS_FIELD_NUMBER: _ClassVar[int]
    model_id: str
    tiers: _containers.RepeatedCompositeFieldContainer[ContextTier]
    def __init__(self, model_id: _Optional[str] = ..., tiers: _Optional[_Iterable[_Union[ContextTier, _Mapping]]] = ...) -> None: ...

class Tariff(_message.Message):
    __slots__ = ("tariff_id", "version", "unit", "currency", "model_rates", "source")
    TARIFF_ID_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    MODEL_RATES_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    tariff_id: str
    version: int
    unit: Unit
    currency: str
    model_rates: _containers.RepeatedCompositeFieldContainer[ModelRates]
    source: str
    def __init__(self, tariff_id: _Optional[str] = ..., version: _Optional[int] = ..., unit: _Optional[_Union[Unit, str]] = ..., currency: _Optional[str] = ..., model_rates: _Optional[_Iterable[_Union[ModelRates, _Mapping]]] = ..., source: _Optional[str] = ...) -> None: ...

class Offering(_message.Message):
    __slots__ = ("offering_id", "display_name", "tariff_id", "model_ids", "reservation_policy", "output_window_tokens", "charge_input_when_client_gone_before_output")
    OFFERING_ID_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    TARIFF_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_IDS_FIELD_NUMBER: _ClassVar[int]
    RESERVATION_POLICY_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_WINDOW_TOKENS_FIELD_NUMBER: _ClassVar[int]
    CHARGE_INPUT_WHEN_CLIENT_GONE_BEFORE_OUTPUT_FIELD_NUMBER: _ClassVar[int]
    offering_id: str
    display_name: str
    tariff_id: str
    model_ids: _containers.RepeatedScalarFieldContainer[str]
    reservation_policy: ReservationPolicy
    output_window_tokens: int
    charge_input_when_client_gone_before_output: bool
    def __init__(self, offering_id: _Optional[str] = ..., display_name: _Optional[str] = ..., tariff_id: _Optional[str] = ..., model_ids: _Optional[_Iterable[str]] = ..., reservation_policy: _Optional[_Union[ReservationPolicy, str]] = ..., output_window_tokens: _Optional[int] = ..., charge_input_when_client_gone_before_output: _Optional[bool] = ...) -> None: ...

class Catalog(_message.Message):
    __slots__ = ("revision", "digest", "vendors", "tokenizer_families", "models", "tariffs", "offerings", "default_offering_id")
    REVISION_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    VENDORS_FIELD_NUMBER: _ClassVar[int]
    TOKENIZER_FAMILIES_FIELD_NUMBER: _ClassVar[int]
    MODELS_FIELD_NUMBER: _ClassVar[int]
    TARIFFS_FIELD_NUMBER: _ClassVar[int]
    OFFERINGS_FIELD_NUMBER: _ClassVar[int]
    DEFAULT_OFFERING_ID_FIELD_NUMBER: _ClassVar[int]
    revision: int
    digest: str
    vendors: _containers.RepeatedCompositeFieldContainer[Vendor]
    tokenizer_families: _containers.RepeatedCompositeFieldContainer[TokenizerFamily]
    models: _containers.RepeatedCompositeFieldContainer[Model]
    tariffs: _containers.RepeatedCompositeFieldContainer[Tariff]
    offerings: _containers.RepeatedCompositeFieldContainer[Offering]
    default_offering_id: str
    def __init__(self, revision: _Optional[int] = ..., digest: _Optional[str] = ..., vendors: _Optional[_Iterable[_Union[Vendor, _Mapping]]] = ..., tokenizer_families: _Optional[_Iterable[_Union[TokenizerFamily, _Mapping]]] = ..., models: _Optional[_Iterable[_Union[Model, _Mapping]]] = ..., tariffs: _Optional[_Iterable[_Union[Tariff, _Mapping]]] = ..., offerings: _Optional[_Iterable[_Union[Offering, _Mapping]]] = ..., default_offering_id: _Optional[str] = ...) -> None: ...

class GetCatalogRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetCatalogResponse(_message.Message):
    __slots__ = ("catalog",)
    CATALOG_FIELD_NUMBER: _ClassVar[int]
    catalog: Catalog
    def __init__(self, catalog: _Optional[_Union[Catalog, _Mapping]] = ...) -> None: ...

class WatchCatalogRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class WatchCatalogResponse(_message.Message):
    __slots__ = ("catalog",)
    CATALOG_FIELD_NUMBER: _ClassVar[int]
    catalog: Catalog
    def __init__(self, catalog: _Optional[_Union[Catalog, _Mapping]] = ...) -> None: ...
