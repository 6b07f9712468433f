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

class Measure(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MEASURE_UNSPECIFIED: _ClassVar[Measure]
    MEASURE_TOKEN: _ClassVar[Measure]
    MEASURE_IMAGE: _ClassVar[Measure]
    MEASURE_MILLISECOND: _ClassVar[Measure]
    MEASURE_CHARACTER: _ClassVar[Measure]

class ReservationPolicy(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RESERVATION_POLICY_UNSPECIFIED: _ClassVar[ReservationPolicy]
    RESERVATION_POLICY_WORST_CASE: _ClassVar[ReservationPolicy]
    RESERVATION_POLICY_EXPECTED: _ClassVar[ReservationPolicy]
    RESERVATION_POLICY_CALIBRATED: _ClassVar[ReservationPolicy]

class AbandonedAnswer(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ABANDONED_ANSWER_UNSPECIFIED: _ClassVar[AbandonedAnswer]
    ABANDONED_ANSWER_NOTHING: _ClassVar[AbandonedAnswer]
    ABANDONED_ANSWER_INPUT: _ClassVar[AbandonedAnswer]
    ABANDONED_ANSWER_MADE: _ClassVar[AbandonedAnswer]

class Dialect(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DIALECT_UNSPECIFIED: _ClassVar[Dialect]
    DIALECT_OPENAI_CHAT: _ClassVar[Dialect]
    DIALECT_ANTHROPIC_MESSAGES: _ClassVar[Dialect]
    DIALECT_OPENAI_RESPONSES: _ClassVar[Dialect]
    DIALECT_OPENAI_EMBEDDINGS: _ClassVar[Dialect]
    DIALECT_OPENAI_COMPLETIONS: _ClassVar[Dialect]
    DIALECT_OPENAI_IMAGES: _ClassVar[Dialect]
    DIALECT_OPENAI_TRANSCRIPTIONS: _ClassVar[Dialect]
    DIALECT_RERANK: _ClassVar[Dialect]
    DIALECT_OPENAI_SPEECH: _ClassVar[Dialect]

class VendorAuthentication(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    VENDOR_AUTHENTICATION_UNSPECIFIED: _ClassVar[VendorAuthentication]
    VENDOR_AUTHENTICATION_BEARER: _ClassVar[VendorAuthentication]
    VENDOR_AUTHENTICATION_X_API_KEY: _ClassVar[VendorAuthentication]

class UnknownField(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    UNKNOWN_FIELD_UNSPECIFIED: _ClassVar[UnknownField]
    UNKNOWN_FIELD_DROPPED: _ClassVar[UnknownField]
    UNKNOWN_FIELD_REFUSED: _ClassVar[UnknownField]
    UNKNOWN_FIELD_PASSED: _ClassVar[UnknownField]

class PromptCaching(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PROMPT_CACHING_UNSPECIFIED: _ClassVar[PromptCaching]
    PROMPT_CACHING_AUTOMATIC: _ClassVar[PromptCaching]
    PROMPT_CACHING_MARKS: _ClassVar[PromptCaching]

class ReasoningCount(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    REASONING_COUNT_UNSPECIFIED: _ClassVar[ReasoningCount]
    REASONING_COUNT_INSIDE: _ClassVar[ReasoningCount]
    REASONING_COUNT_BESIDE: _ClassVar[ReasoningCount]

class VendorErrorMeaning(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    VENDOR_ERROR_MEANING_UNSPECIFIED: _ClassVar[VendorErrorMeaning]
    VENDOR_ERROR_MEANING_REQUEST: _ClassVar[VendorErrorMeaning]
    VENDOR_ERROR_MEANING_ACCOUNT: _ClassVar[VendorErrorMeaning]
    VENDOR_ERROR_MEANING_RATE_LIMIT: _ClassVar[VendorErrorMeaning]
    VENDOR_ERROR_MEANING_OVERLOADED: _ClassVar[VendorErrorMeaning]
    VENDOR_ERROR_MEANING_CONTENT: _ClassVar[VendorErrorMeaning]
    VENDOR_ERROR_MEANING_CONTEXT: _ClassVar[VendorErrorMeaning]

class RoutingPolicy(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ROUTING_POLICY_UNSPECIFIED: _ClassVar[RoutingPolicy]
    ROUTING_POLICY_WEIGHTED: _ClassVar[RoutingPolicy]
    ROUTING_POLICY_CHEAPEST: _ClassVar[RoutingPolicy]

class PricedAt(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PRICED_AT_UNSPECIFIED: _ClassVar[PricedAt]
    PRICED_AT_START: _ClassVar[PricedAt]
    PRICED_AT_END: _ClassVar[PricedAt]

class Period(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PERIOD_UNSPECIFIED: _ClassVar[Period]
    PERIOD_DAY: _ClassVar[Period]
    PERIOD_WEEK: _ClassVar[Period]
    PERIOD_MONTH: _ClassVar[Period]
    PERIOD_YEAR: _ClassVar[Period]

class PaymentMethod(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PAYMENT_METHOD_UNSPECIFIED: _ClassVar[PaymentMethod]
    PAYMENT_METHOD_PREPAID: _ClassVar[PaymentMethod]
    PAYMENT_METHOD_PHONE_BILL: _ClassVar[PaymentMethod]
    PAYMENT_METHOD_EXTERNAL: _ClassVar[PaymentMethod]

class LimitScope(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LIMIT_SCOPE_UNSPECIFIED: _ClassVar[LimitScope]
    LIMIT_SCOPE_ACCOUNT: _ClassVar[LimitScope]
    LIMIT_SCOPE_MEMBER: _ClassVar[LimitScope]
    LIMIT_SCOPE_KEY: _ClassVar[LimitScope]

class FinalUnit(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FINAL_UNIT_UNSPECIFIED: _ClassVar[FinalUnit]
    FINAL_UNIT_TERMINATE: _ClassVar[FinalUnit]
    FINAL_UNIT_REDIRECT: _ClassVar[FinalUnit]
    FINAL_UNIT_RESTRICT_ACCESS: _ClassVar[FinalUnit]

class EnergyUnit(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ENERGY_UNIT_UNSPECIFIED: _ClassVar[EnergyUnit]
    ENERGY_UNIT_OUTPUT_TOKEN: _ClassVar[EnergyUnit]
    ENERGY_UNIT_IMAGE: _ClassVar[EnergyUnit]

class TariffDay(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TARIFF_DAY_UNSPECIFIED: _ClassVar[TariffDay]
    TARIFF_DAY_MONDAY: _ClassVar[TariffDay]
    TARIFF_DAY_TUESDAY: _ClassVar[TariffDay]
    TARIFF_DAY_WEDNESDAY: _ClassVar[TariffDay]
    TARIFF_DAY_THURSDAY: _ClassVar[TariffDay]
    TARIFF_DAY_FRIDAY: _ClassVar[TariffDay]
    TARIFF_DAY_SATURDAY: _ClassVar[TariffDay]
    TARIFF_DAY_SUNDAY: _ClassVar[TariffDay]
    TARIFF_DAY_HOLIDAY: _ClassVar[TariffDay]

class PriorityClass(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PRIORITY_CLASS_UNSPECIFIED: _ClassVar[PriorityClass]
    PRIORITY_CLASS_LOW: _ClassVar[PriorityClass]
    PRIORITY_CLASS_STANDARD: _ClassVar[PriorityClass]
    PRIORITY_CLASS_HIGH: _ClassVar[PriorityClass]
UNIT_UNSPECIFIED: Unit
UNIT_TOKEN: Unit
UNIT_POINT: Unit
UNIT_CURRENCY: Unit
MEASURE_UNSPECIFIED: Measure
MEASURE_TOKEN: Measure
MEASURE_IMAGE: Measure
MEASURE_MILLISECOND: Measure
MEASURE_CHARACTER: Measure
RESERVATION_POLICY_UNSPECIFIED: ReservationPolicy
RESERVATION_POLICY_WORST_CASE: ReservationPolicy
RESERVATION_POLICY_EXPECTED: ReservationPolicy
RESERVATION_POLICY_CALIBRATED: ReservationPolicy
ABANDONED_ANSWER_UNSPECIFIED: AbandonedAnswer
ABANDONED_ANSWER_NOTHING: AbandonedAnswer
ABANDONED_ANSWER_INPUT: AbandonedAnswer
ABANDONED_ANSWER_MADE: AbandonedAnswer
DIALECT_UNSPECIFIED: Dialect
DIALECT_OPENAI_CHAT: Dialect
DIALECT_ANTHROPIC_MESSAGES: Dialect
DIALECT_OPENAI_RESPONSES: Dialect
DIALECT_OPENAI_EMBEDDINGS: Dialect
DIALECT_OPENAI_COMPLETIONS: Dialect
DIALECT_OPENAI_IMAGES: Dialect
DIALECT_OPENAI_TRANSCRIPTIONS: Dialect
DIALECT_RERANK: Dialect
DIALECT_OPENAI_SPEECH: Dialect
VENDOR_AUTHENTICATION_UNSPECIFIED: VendorAuthentication
VENDOR_AUTHENTICATION_BEARER: VendorAuthentication
VENDOR_AUTHENTICATION_X_API_KEY: VendorAuthentication
UNKNOWN_FIELD_UNSPECIFIED: UnknownField
UNKNOWN_FIELD_DROPPED: UnknownField
UNKNOWN_FIELD_REFUSED: UnknownField
UNKNOWN_FIELD_PASSED: UnknownField
PROMPT_CACHING_UNSPECIFIED: PromptCaching
PROMPT_CACHING_AUTOMATIC: PromptCaching
PROMPT_CACHING_MARKS: PromptCaching
REASONING_COUNT_UNSPECIFIED: ReasoningCount
REASONING_COUNT_INSIDE: ReasoningCount
REASONING_COUNT_BESIDE: ReasoningCount
VENDOR_ERROR_MEANING_UNSPECIFIED: VendorErrorMeaning
VENDOR_ERROR_MEANING_REQUEST: VendorErrorMeaning
VENDOR_ERROR_MEANING_ACCOUNT: VendorErrorMeaning
VENDOR_ERROR_MEANING_RATE_LIMIT: VendorErrorMeaning
VENDOR_ERROR_MEANING_OVERLOADED: VendorErrorMeaning
VENDOR_ERROR_MEANING_CONTENT: VendorErrorMeaning
VENDOR_ERROR_MEANING_CONTEXT: VendorErrorMeaning
ROUTING_POLICY_UNSPECIFIED: RoutingPolicy
ROUTING_POLICY_WEIGHTED: RoutingPolicy
ROUTING_POLICY_CHEAPEST: RoutingPolicy
PRICED_AT_UNSPECIFIED: PricedAt
PRICED_AT_START: PricedAt
PRICED_AT_END: PricedAt
PERIOD_UNSPECIFIED: Period
PERIOD_DAY: Period
PERIOD_WEEK: Period
PERIOD_MONTH: Period
PERIOD_YEAR: Period
PAYMENT_METHOD_UNSPECIFIED: PaymentMethod
PAYMENT_METHOD_PREPAID: PaymentMethod
PAYMENT_METHOD_PHONE_BILL: PaymentMethod
PAYMENT_METHOD_EXTERNAL: PaymentMethod
LIMIT_SCOPE_UNSPECIFIED: LimitScope
LIMIT_SCOPE_ACCOUNT: LimitScope
LIMIT_SCOPE_MEMBER: LimitScope
LIMIT_SCOPE_KEY: LimitScope
FINAL_UNIT_UNSPECIFIED: FinalUnit
FINAL_UNIT_TERMINATE: FinalUnit
FINAL_UNIT_REDIRECT: FinalUnit
FINAL_UNIT_RESTRICT_ACCESS: FinalUnit
ENERGY_UNIT_UNSPECIFIED: EnergyUnit
ENERGY_UNIT_OUTPUT_TOKEN: EnergyUnit
ENERGY_UNIT_IMAGE: EnergyUnit
TARIFF_DAY_UNSPECIFIED: TariffDay
TARIFF_DAY_MONDAY: TariffDay
TARIFF_DAY_TUESDAY: TariffDay
TARIFF_DAY_WEDNESDAY: TariffDay
TARIFF_DAY_THURSDAY: TariffDay
TARIFF_DAY_FRIDAY: TariffDay
TARIFF_DAY_SATURDAY: TariffDay
TARIFF_DAY_SUNDAY: TariffDay
TARIFF_DAY_HOLIDAY: TariffDay
PRIORITY_CLASS_UNSPECIFIED: PriorityClass
PRIORITY_CLASS_LOW: PriorityClass
PRIORITY_CLASS_STANDARD: PriorityClass
PRIORITY_CLASS_HIGH: PriorityClass

class Vendor(_message.Message):
    __slots__ = ("vendor_id", "display_name", "base_url", "api_key_env", "base_url_env", "endpoints", "errors", "priced_at", "fees")
    VENDOR_ID_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    BASE_URL_FIELD_NUMBER: _ClassVar[int]
    API_KEY_ENV_FIELD_NUMBER: _ClassVar[int]
    BASE_URL_ENV_FIELD_NUMBER: _ClassVar[int]
    ENDPOINTS_FIELD_NUMBER: _ClassVar[int]
    ERRORS_FIELD_NUMBER: _ClassVar[int]
    PRICED_AT_FIELD_NUMBER: _ClassVar[int]
    FEES_FIELD_NUMBER: _ClassVar[int]
    vendor_id: str
    display_name: str
    base_url: str
    api_key_env: str
    base_url_env: str
    endpoints: _containers.RepeatedCompositeFieldContainer[VendorEndpoint]
    errors: _containers.RepeatedCompositeFieldContainer[VendorError]
    priced_at: PricedAt
    fees: _containers.RepeatedCompositeFieldContainer[FeeShares]
    def __init__(self, vendor_id: _Optional[str] = ..., display_name: _Optional[str] = ..., base_url: _Optional[str] = ..., api_key_env: _Optional[str] = ..., base_url_env: _Optional[str] = ..., endpoints: _Optional[_Iterable[_Union[VendorEndpoint, _Mapping]]] = ..., errors: _Optional[_Iterable[_Union[VendorError, _Mapping]]] = ..., priced_at: _Optional[_Union[PricedAt, str]] = ..., fees: _Optional[_Iterable[_Union[FeeShares, _Mapping]]] = ...) -> None: ...

class FeeShares(_message.Message):
    __slots__ = ("effective_time", "platform", "compute", "channel")
    EFFECTIVE_TIME_FIELD_NUMBER: _ClassVar[int]
    PLATFORM_FIELD_NUMBER: _ClassVar[int]
    COMPUTE_FIELD_NUMBER: _ClassVar[int]
    CHANNEL_FIELD_NUMBER: _ClassVar[int]
    effective_time: _timestamp_pb2.Timestamp
    platform: int
    compute: int
    channel: int
    def __init__(self, effective_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., platform: _Optional[int] = ..., compute: _Optional[int] = ..., channel: _Optional[int] = ...) -> None: ...

class VendorEndpoint(_message.Message):
    __slots__ = ("dialect", "base_url", "authentication", "output_limit_field", "limit_counts_reasoning", "streams", "takes_stream_options", "drainable", "extra_fields", "priced_fields", "unknown_fields", "unknown_content", "usage", "prompt_caching", "probe_path")
    DIALECT_FIELD_NUMBER: _ClassVar[int]
    BASE_URL_FIELD_NUMBER: _ClassVar[int]
    AUTHENTICATION_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_LIMIT_FIELD_FIELD_NUMBER: _ClassVar[int]
    LIMIT_COUNTS_REASONING_FIELD_NUMBER: _ClassVar[int]
    STREAMS_FIELD_NUMBER: _ClassVar[int]
    TAKES_STREAM_OPTIONS_FIELD_NUMBER: _ClassVar[int]
    DRAINABLE_FIELD_NUMBER: _ClassVar[int]
    EXTRA_FIELDS_FIELD_NUMBER: _ClassVar[int]
    PRICED_FIELDS_FIELD_NUMBER: _ClassVar[int]
    UNKNOWN_FIELDS_FIELD_NUMBER: _ClassVar[int]
    UNKNOWN_CONTENT_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    PROMPT_CACHING_FIELD_NUMBER: _ClassVar[int]
    PROBE_PATH_FIELD_NUMBER: _ClassVar[int]
    dialect: Dialect
    base_url: str
    authentication: VendorAuthentication
    output_limit_field: str
    limit_counts_reasoning: bool
    streams: bool
    takes_stream_options: bool
    drainable: bool
    extra_fields: _containers.RepeatedScalarFieldContainer[str]
    priced_fields: _containers.RepeatedCompositeFieldContainer[PricedField]
    unknown_fields: UnknownField
    unknown_content: UnknownField
    usage: UsageReading
    prompt_caching: PromptCaching
    probe_path: str
    def __init__(self, dialect: _Optional[_Union[Dialect, str]] = ..., base_url: _Optional[str] = ..., authentication: _Optional[_Union[VendorAuthentication, str]] = ..., output_limit_field: _Optional[str] = ..., limit_counts_reasoning: _Optional[bool] = ..., streams: _Optional[bool] = ..., takes_stream_options: _Optional[bool] = ..., drainable: _Optional[bool] = ..., extra_fields: _Optional[_Iterable[str]] = ..., priced_fields: _Optional[_Iterable[_Union[PricedField, _Mapping]]] = ..., unknown_fields: _Optional[_Union[UnknownField, str]] = ..., unknown_content: _Optional[_Union[UnknownField, str]] = ..., usage: _Optional[_Union[UsageReading, _Mapping]] = ..., prompt_caching: _Optional[_Union[PromptCaching, str]] = ..., probe_path: _Optional[str] = ...) -> None: ...

class PricedField(_message.Message):
    __slots__ = ("field", "free_values")
    FIELD_FIELD_NUMBER: _ClassVar[int]
    FREE_VALUES_FIELD_NUMBER: _ClassVar[int]
    field: str
    free_values: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, field: _Optional[str] = ..., free_values: _Optional[_Iterable[str]] = ...) -> None: ...

class UsageReading(_message.Message):
    __slots__ = ("reasoning", "paths", "places")
    REASONING_FIELD_NUMBER: _ClassVar[int]
    PATHS_FIELD_NUMBER: _ClassVar[int]
    PLACES_FIELD_NUMBER: _ClassVar[int]
    reasoning: ReasoningCount
    paths: _containers.RepeatedCompositeFieldContainer[UsagePath]
    places: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, reasoning: _Optional[_Union[ReasoningCount, str]] = ..., paths: _Optional[_Iterable[_Union[UsagePath, _Mapping]]] = ..., places: _Optional[_Iterable[str]] = ...) -> None: ...

class UsagePath(_message.Message):
    __slots__ = ("token_class", "path")
    TOKEN_CLASS_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    token_class: str
    path: str
    def __init__(self, token_class: _Optional[str] = ..., path: _Optional[str] = ...) -> None: ...

class VendorError(_message.Message):
    __slots__ = ("http_status", "code", "message_part", "meaning")
    HTTP_STATUS_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_PART_FIELD_NUMBER: _ClassVar[int]
    MEANING_FIELD_NUMBER: _ClassVar[int]
    http_status: int
    code: str
    message_part: str
    meaning: VendorErrorMeaning
    def __init__(self, http_status: _Optional[int] = ..., code: _Optional[str] = ..., message_part: _Optional[str] = ..., meaning: _Optional[_Union[VendorErrorMeaning, str]] = ...) -> None: ...

class TokenizerFamily(_message.Message):
    __slots__ = ("family_id", "letters_per_token_milli", "tokens_per_cjk_character_milli", "template_tokens_per_message", "template_tokens_per_request", "tokenizer", "image_tokens_max", "image_rule", "sound_tokens_per_second")
    FAMILY_ID_FIELD_NUMBER: _ClassVar[int]
    LETTERS_PER_TOKEN_MILLI_FIELD_NUMBER: _ClassVar[int]
    TOKENS_PER_CJK_CHARACTER_MILLI_FIELD_NUMBER: _ClassVar[int]
    TEMPLATE_TOKENS_PER_MESSAGE_FIELD_NUMBER: _ClassVar[int]
    TEMPLATE_TOKENS_PER_REQUEST_FIELD_NUMBER: _ClassVar[int]
    TOKENIZER_FIELD_NUMBER: _ClassVar[int]
    IMAGE_TOKENS_MAX_FIELD_NUMBER: _ClassVar[int]
    IMAGE_RULE_FIELD_NUMBER: _ClassVar[int]
    SOUND_TOKENS_PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    family_id: str
    letters_per_token_milli: int
    tokens_per_cjk_character_milli: int
    template_tokens_per_message: int
    template_tokens_per_request: int
    tokenizer: str
    image_tokens_max: int
    image_rule: ImageRule
    sound_tokens_per_second: int
    def __init__(self, family_id: _Optional[str] = ..., letters_per_token_milli: _Optional[int] = ..., tokens_per_cjk_character_milli: _Optional[int] = ..., template_tokens_per_message: _Optional[int] = ..., template_tokens_per_request: _Optional[int] = ..., tokenizer: _Optional[str] = ..., image_tokens_max: _Optional[int] = ..., image_rule: _Optional[_Union[ImageRule, _Mapping]] = ..., sound_tokens_per_second: _Optional[int] = ...) -> None: ...

class ImageRule(_message.Message):
    __slots__ = ("square_pixels", "square_tokens_milli", "base_tokens", "short_side_pixels", "tokens_min", "low_detail_tokens")
    SQUARE_PIXELS_FIELD_NUMBER: _ClassVar[int]
    SQUARE_TOKENS_MILLI_FIELD_NUMBER: _ClassVar[int]
    BASE_TOKENS_FIELD_NUMBER: _ClassVar[int]
    SHORT_SIDE_PIXELS_FIELD_NUMBER: _ClassVar[int]
    TOKENS_MIN_FIELD_NUMBER: _ClassVar[int]
    LOW_DETAIL_TOKENS_FIELD_NUMBER: _ClassVar[int]
    square_pixels: int
    square_tokens_milli: int
    base_tokens: int
    short_side_pixels: int
    tokens_min: int
    low_detail_tokens: int
    def __init__(self, square_pixels: _Optional[int] = ..., square_tokens_milli: _Optional[int] = ..., base_tokens: _Optional[int] = ..., short_side_pixels: _Optional[int] = ..., tokens_min: _Optional[int] = ..., low_detail_tokens: _Optional[int] = ...) -> None: ...

class Route(_message.Message):
    __slots__ = ("vendor_id", "vendor_model_id", "priority", "wholesale_tariff_id", "weight", "edge_concurrency_max", "region", "offering_ids", "requests_per_minute", "tokens_per_minute")
    VENDOR_ID_FIELD_NUMBER: _ClassVar[int]
    VENDOR_MODEL_ID_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    WHOLESALE_TARIFF_ID_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    EDGE_CONCURRENCY_MAX_FIELD_NUMBER: _ClassVar[int]
    REGION_FIELD_NUMBER: _ClassVar[int]
    OFFERING_IDS_FIELD_NUMBER: _ClassVar[int]
    REQUESTS_PER_MINUTE_FIELD_NUMBER: _ClassVar[int]
    TOKENS_PER_MINUTE_FIELD_NUMBER: _ClassVar[int]
    vendor_id: str
    vendor_model_id: str
    priority: int
    wholesale_tariff_id: str
    weight: int
    edge_concurrency_max: int
    region: str
    offering_ids: _containers.RepeatedScalarFieldContainer[str]
    requests_per_minute: int
    tokens_per_minute: int
    def __init__(self, vendor_id: _Optional[str] = ..., vendor_model_id: _Optional[str] = ..., priority: _Optional[int] = ..., wholesale_tariff_id: _Optional[str] = ..., weight: _Optional[int] = ..., edge_concurrency_max: _Optional[int] = ..., region: _Optional[str] = ..., offering_ids: _Optional[_Iterable[str]] = ..., requests_per_minute: _Optional[int] = ..., tokens_per_minute: _Optional[int] = ...) -> None: ...

class Model(_message.Message):
    __slots__ = ("model_id", "display_name", "owned_by", "context_window_tokens", "max_output_tokens", "family_id", "release_time", "routes", "hidden_reasoning", "dialects", "input_measure", "output_measure", "equivalent_model_ids", "routing", "aliases", "sunset_time", "source_ids", "conflict", "energy")
    MODEL_ID_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    OWNED_BY_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_WINDOW_TOKENS_FIELD_NUMBER: _ClassVar[int]
    MAX_OUTPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    FAMILY_ID_FIELD_NUMBER: _ClassVar[int]
    RELEASE_TIME_FIELD_NUMBER: _ClassVar[int]
    ROUTES_FIELD_NUMBER: _ClassVar[int]
    HIDDEN_REASONING_FIELD_NUMBER: _ClassVar[int]
    DIALECTS_FIELD_NUMBER: _ClassVar[int]
    INPUT_MEASURE_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_MEASURE_FIELD_NUMBER: _ClassVar[int]
    EQUIVALENT_MODEL_IDS_FIELD_NUMBER: _ClassVar[int]
    ROUTING_FIELD_NUMBER: _ClassVar[int]
    ALIASES_FIELD_NUMBER: _ClassVar[int]
    SUNSET_TIME_FIELD_NUMBER: _ClassVar[int]
    SOURCE_IDS_FIELD_NUMBER: _ClassVar[int]
    CONFLICT_FIELD_NUMBER: _ClassVar[int]
    ENERGY_FIELD_NUMBER: _ClassVar[int]
    model_id: str
    display_name: str
    owned_by: str
    context_window_tokens: int
    max_output_tokens: int
    family_id: str
    release_time: _timestamp_pb2.Timestamp
    routes: _containers.RepeatedCompositeFieldContainer[Route]
    hidden_reasoning: bool
    dialects: _containers.RepeatedScalarFieldContainer[Dialect]
    input_measure: Measure
    output_measure: Measure
    equivalent_model_ids: _containers.RepeatedScalarFieldContainer[str]
    routing: RoutingPolicy
    aliases: _containers.RepeatedScalarFieldContainer[str]
    sunset_time: _timestamp_pb2.Timestamp
    source_ids: _containers.RepeatedScalarFieldContainer[str]
    conflict: str
    energy: _containers.RepeatedCompositeFieldContainer[Energy]
    def __init__(self, model_id: _Optional[str] = ..., display_name: _Optional[str] = ..., owned_by: _Optional[str] = ..., context_window_tokens: _Optional[int] = ..., max_output_tokens: _Optional[int] = ..., family_id: _Optional[str] = ..., release_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., routes: _Optional[_Iterable[_Union[Route, _Mapping]]] = ..., hidden_reasoning: _Optional[bool] = ..., dialects: _Optional[_Iterable[_Union[Dialect, str]]] = ..., input_measure: _Optional[_Union[Measure, str]] = ..., output_measure: _Optional[_Union[Measure, str]] = ..., equivalent_model_ids: _Optional[_Iterable[str]] = ..., routing: _Optional[_Union[RoutingPolicy, str]] = ..., aliases: _Optional[_Iterable[str]] = ..., sunset_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., source_ids: _Optional[_Iterable[str]] = ..., conflict: _Optional[str] = ..., energy: _Optional[_Iterable[_Union[Energy, _Mapping]]] = ...) -> None: ...

class Source(_message.Message):
    __slots__ = ("source_id", "title", "published_time")
    SOURCE_ID_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    PUBLISHED_TIME_FIELD_NUMBER: _ClassVar[int]
    source_id: str
    title: str
    published_time: _timestamp_pb2.Timestamp
    def __init__(self, source_id: _Optional[str] = ..., title: _Optional[str] = ..., published_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Energy(_message.Message):
    __slots__ = ("gpu", "per", "task", "low_microjoules", "low_batch", "high_microjoules", "high_batch", "source_ids")
    GPU_FIELD_NUMBER: _ClassVar[int]
    PER_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    LOW_MICROJOULES_FIELD_NUMBER: _ClassVar[int]
    LOW_BATCH_FIELD_NUMBER: _ClassVar[int]
    HIGH_MICROJOULES_FIELD_NUMBER: _ClassVar[int]
    HIGH_BATCH_FIELD_NUMBER: _ClassVar[int]
    SOURCE_IDS_FIELD_NUMBER: _ClassVar[int]
    gpu: str
    per: EnergyUnit
    task: str
    low_microjoules: int
    low_batch: int
    high_microjoules: int
    high_batch: int
    source_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, gpu: _Optional[str] = ..., per: _Optional[_Union[EnergyUnit, str]] = ..., task: _Optional[str] = ..., low_microjoules: _Optional[int] = ..., low_batch: _Optional[int] = ..., high_microjoules: _Optional[int] = ..., high_batch: _Optional[int] = ..., source_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class TokenRates(_message.Message):
    __slots__ = ("input", "cached_input", "cache_write", "output", "reasoning", "cache_write_1h", "audio_input", "image_input", "audio_output", "image_output", "generated_images", "audio_milliseconds", "spoken_characters")
    INPUT_FIELD_NUMBER: _ClassVar[int]
    CACHED_INPUT_FIELD_NUMBER: _ClassVar[int]
    CACHE_WRITE_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    REASONING_FIELD_NUMBER: _ClassVar[int]
    CACHE_WRITE_1H_FIELD_NUMBER: _ClassVar[int]
    AUDIO_INPUT_FIELD_NUMBER: _ClassVar[int]
    IMAGE_INPUT_FIELD_NUMBER: _ClassVar[int]
    AUDIO_OUTPUT_FIELD_NUMBER: _ClassVar[int]
    IMAGE_OUTPUT_FIELD_NUMBER: _ClassVar[int]
    GENERATED_IMAGES_FIELD_NUMBER: _ClassVar[int]
    AUDIO_MILLISECONDS_FIELD_NUMBER: _ClassVar[int]
    SPOKEN_CHARACTERS_FIELD_NUMBER: _ClassVar[int]
    input: int
    cached_input: int
    cache_write: int
    output: int
    reasoning: int
    cache_write_1h: int
    audio_input: int
    image_input: int
    audio_output: int
    image_output: int
    generated_images: int
    audio_milliseconds: int
    spoken_characters: int
    def __init__(self, input: _Optional[int] = ..., cached_input: _Optional[int] = ..., cache_write: _Optional[int] = ..., output: _Optional[int] = ..., reasoning: _Optional[int] = ..., cache_write_1h: _Optional[int] = ..., audio_input: _Optional[int] = ..., image_input: _Optional[int] = ..., audio_output: _Optional[int] = ..., image_output: _Optional[int] = ..., generated_images: _Optional[int] = ..., audio_milliseconds: _Optional[int] = ..., spoken_characters: _Optional[int] = ...) -> None: ...

class ContextTier(_message.Message):
    __slots__ = ("above_input_tokens", "rates")
    ABOVE_INPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    RATES_FIELD_NUMBER: _ClassVar[int]
    above_input_tokens: int
    rates: TokenRates
    def __init__(self, above_input_tokens: _Optional[int] = ..., rates: _Optional[_Union[TokenRates, _Mapping]] = ...) -> None: ...

class ModelRates(_message.Message):
    __slots__ = ("model_id", "tiers", "source_ids", "conflict")
    MODEL_ID_FIELD_NUMBER: _ClassVar[int]
    TIERS_FIELD_NUMBER: _ClassVar[int]
    SOURCE_IDS_FIELD_NUMBER: _ClassVar[int]
    CONFLICT_FIELD_NUMBER: _ClassVar[int]
    model_id: str
    tiers: _containers.RepeatedCompositeFieldContainer[ContextTier]
    source_ids: _containers.RepeatedScalarFieldContainer[str]
    conflict: str
    def __init__(self, model_id: _Optional[str] = ..., tiers: _Optional[_Iterable[_Union[ContextTier, _Mapping]]] = ..., source_ids: _Optional[_Iterable[str]] = ..., conflict: _Optional[str] = ...) -> None: ...

class Tariff(_message.Message):
    __slots__ = ("tariff_id", "version", "unit", "currency", "model_rates", "source", "upcoming", "public", "windows", "time_zone", "holidays")
    TARIFF_ID_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    MODEL_RATES_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    UPCOMING_FIELD_NUMBER: _ClassVar[int]
    PUBLIC_FIELD_NUMBER: _ClassVar[int]
    WINDOWS_FIELD_NUMBER: _ClassVar[int]
    TIME_ZONE_FIELD_NUMBER: _ClassVar[int]
    HOLIDAYS_FIELD_NUMBER: _ClassVar[int]
    tariff_id: str
    version: int
    unit: Unit
    currency: str
    model_rates: _containers.RepeatedCompositeFieldContainer[ModelRates]
    source: str
    upcoming: _containers.RepeatedCompositeFieldContainer[TariffVersion]
    public: bool
    windows: _containers.RepeatedCompositeFieldContainer[TariffWindow]
    time_zone: str
    holidays: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, tariff_id: _Optional[str] = ..., version: _Optional[int] = ..., unit: _Optional[_Union[Unit, str]] = ..., currency: _Optional[str] = ..., model_rates: _Optional[_Iterable[_Union[ModelRates, _Mapping]]] = ..., source: _Optional[str] = ..., upcoming: _Optional[_Iterable[_Union[TariffVersion, _Mapping]]] = ..., public: _Optional[bool] = ..., windows: _Optional[_Iterable[_Union[TariffWindow, _Mapping]]] = ..., time_zone: _Optional[str] = ..., holidays: _Optional[_Iterable[str]] = ...) -> None: ...

class WindowHours(_message.Message):
    __slots__ = ("days", "begin_minute", "end_minute")
    DAYS_FIELD_NUMBER: _ClassVar[int]
    BEGIN_MINUTE_FIELD_NUMBER: _ClassVar[int]
    END_MINUTE_FIELD_NUMBER: _ClassVar[int]
    days: _containers.RepeatedScalarFieldContainer[TariffDay]
    begin_minute: int
    end_minute: int
    def __init__(self, days: _Optional[_Iterable[_Union[TariffDay, str]]] = ..., begin_minute: _Optional[int] = ..., end_minute: _Optional[int] = ...) -> None: ...

class TariffWindow(_message.Message):
    __slots__ = ("window_id", "version", "hours", "model_rates")
    WINDOW_ID_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    HOURS_FIELD_NUMBER: _ClassVar[int]
    MODEL_RATES_FIELD_NUMBER: _ClassVar[int]
    window_id: str
    version: int
    hours: _containers.RepeatedCompositeFieldContainer[WindowHours]
    model_rates: _containers.RepeatedCompositeFieldContainer[ModelRates]
    def __init__(self, window_id: _Optional[str] = ..., version: _Optional[int] = ..., hours: _Optional[_Iterable[_Union[WindowHours, _Mapping]]] = ..., model_rates: _Optional[_Iterable[_Union[ModelRates, _Mapping]]] = ...) -> None: ...

class TariffVersion(_message.Message):
    __slots__ = ("version", "effective_time", "model_rates", "windows")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    EFFECTIVE_TIME_FIELD_NUMBER: _ClassVar[int]
    MODEL_RATES_FIELD_NUMBER: _ClassVar[int]
    WINDOWS_FIELD_NUMBER: _ClassVar[int]
    version: int
    effective_time: _timestamp_pb2.Timestamp
    model_rates: _containers.RepeatedCompositeFieldContainer[ModelRates]
    windows: _containers.RepeatedCompositeFieldContainer[TariffWindow]
    def __init__(self, version: _Optional[int] = ..., effective_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., model_rates: _Optional[_Iterable[_Union[ModelRates, _Mapping]]] = ..., windows: _Optional[_Iterable[_Union[TariffWindow, _Mapping]]] = ...) -> None: ...

class ModelGroup(_message.Message):
    __slots__ = ("group_id", "model_ids")
    GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_IDS_FIELD_NUMBER: _ClassVar[int]
    group_id: str
    model_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, group_id: _Optional[str] = ..., model_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class ExchangeRate(_message.Message):
    __slots__ = ("from_currency", "to_currency", "version", "rate")
    FROM_CURRENCY_FIELD_NUMBER: _ClassVar[int]
    TO_CURRENCY_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    RATE_FIELD_NUMBER: _ClassVar[int]
    from_currency: str
    to_currency: str
    version: int
    rate: int
    def __init__(self, from_currency: _Optional[str] = ..., to_currency: _Optional[str] = ..., version: _Optional[int] = ..., rate: _Optional[int] = ...) -> None: ...

class Price(_message.Message):
    __slots__ = ("amount", "currency")
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    amount: int
    currency: str
    def __init__(self, amount: _Optional[int] = ..., currency: _Optional[str] = ...) -> None: ...

class Cycle(_message.Message):
    __slots__ = ("period", "count", "calendar_aligned", "first_cycle_prorated")
    PERIOD_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    CALENDAR_ALIGNED_FIELD_NUMBER: _ClassVar[int]
    FIRST_CYCLE_PRORATED_FIELD_NUMBER: _ClassVar[int]
    period: Period
    count: int
    calendar_aligned: bool
    first_cycle_prorated: bool
    def __init__(self, period: _Optional[_Union[Period, str]] = ..., count: _Optional[int] = ..., calendar_aligned: _Optional[bool] = ..., first_cycle_prorated: _Optional[bool] = ...) -> None: ...

class Allowance(_message.Message):
    __slots__ = ("allowance_id", "unit", "currency", "amount", "model_group", "priority", "valid_days", "rollover_cap", "postpaid", "transferable", "notice_percents", "weight")
    ALLOWANCE_ID_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    MODEL_GROUP_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    VALID_DAYS_FIELD_NUMBER: _ClassVar[int]
    ROLLOVER_CAP_FIELD_NUMBER: _ClassVar[int]
    POSTPAID_FIELD_NUMBER: _ClassVar[int]
    TRANSFERABLE_FIELD_NUMBER: _ClassVar[int]
    NOTICE_PERCENTS_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    allowance_id: str
    unit: Unit
    currency: str
    amount: int
    model_group: str
    priority: int
    valid_days: int
    rollover_cap: int
    postpaid: bool
    transferable: bool
    notice_percents: _containers.RepeatedScalarFieldContainer[int]
    weight: int
    def __init__(self, allowance_id: _Optional[str] = ..., unit: _Optional[_Union[Unit, str]] = ..., currency: _Optional[str] = ..., amount: _Optional[int] = ..., model_group: _Optional[str] = ..., priority: _Optional[int] = ..., valid_days: _Optional[int] = ..., rollover_cap: _Optional[int] = ..., postpaid: _Optional[bool] = ..., transferable: _Optional[bool] = ..., notice_percents: _Optional[_Iterable[int]] = ..., weight: _Optional[int] = ...) -> None: ...

class RequestRate(_message.Message):
    __slots__ = ("requests_per_minute", "burst")
    REQUESTS_PER_MINUTE_FIELD_NUMBER: _ClassVar[int]
    BURST_FIELD_NUMBER: _ClassVar[int]
    requests_per_minute: int
    burst: int
    def __init__(self, requests_per_minute: _Optional[int] = ..., burst: _Optional[int] = ...) -> None: ...

class TokenRate(_message.Message):
    __slots__ = ("tokens_per_minute", "burst")
    TOKENS_PER_MINUTE_FIELD_NUMBER: _ClassVar[int]
    BURST_FIELD_NUMBER: _ClassVar[int]
    tokens_per_minute: int
    burst: int
    def __init__(self, tokens_per_minute: _Optional[int] = ..., burst: _Optional[int] = ...) -> None: ...

class UsageLimit(_message.Message):
    __slots__ = ("amount", "unit", "currency", "window_seconds", "calendar_window")
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    WINDOW_SECONDS_FIELD_NUMBER: _ClassVar[int]
    CALENDAR_WINDOW_FIELD_NUMBER: _ClassVar[int]
    amount: int
    unit: Unit
    currency: str
    window_seconds: int
    calendar_window: Period
    def __init__(self, amount: _Optional[int] = ..., unit: _Optional[_Union[Unit, str]] = ..., currency: _Optional[str] = ..., window_seconds: _Optional[int] = ..., calendar_window: _Optional[_Union[Period, str]] = ...) -> None: ...

class Limit(_message.Message):
    __slots__ = ("limit_id", "per", "request_rate", "token_rate", "concurrent_sessions", "usage")
    LIMIT_ID_FIELD_NUMBER: _ClassVar[int]
    PER_FIELD_NUMBER: _ClassVar[int]
    REQUEST_RATE_FIELD_NUMBER: _ClassVar[int]
    TOKEN_RATE_FIELD_NUMBER: _ClassVar[int]
    CONCURRENT_SESSIONS_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    limit_id: str
    per: LimitScope
    request_rate: RequestRate
    token_rate: TokenRate
    concurrent_sessions: int
    usage: UsageLimit
    def __init__(self, limit_id: _Optional[str] = ..., per: _Optional[_Union[LimitScope, str]] = ..., request_rate: _Optional[_Union[RequestRate, _Mapping]] = ..., token_rate: _Optional[_Union[TokenRate, _Mapping]] = ..., concurrent_sessions: _Optional[int] = ..., usage: _Optional[_Union[UsageLimit, _Mapping]] = ...) -> None: ...

class Offering(_message.Message):
    __slots__ = ("offering_id", "display_name", "tariff_id", "model_ids", "reservation_policy", "output_window_tokens", "charge_input_when_client_gone_before_output", "overage_tariff_id", "price", "payment_methods", "cycle", "automatic_renewal", "renewal_grace_days", "allowances", "limits", "final_unit", "redirect_offering_id", "restricted_model_id", "debt_limits", "abandoned_answer", "required_regions", "preferred_regions", "equivalent_models", "priority_class", "without_refund", "once", "withdrawn", "only_granted")
    OFFERING_ID_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    TARIFF_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_IDS_FIELD_NUMBER: _ClassVar[int]
    RESERVATION_POLICY_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_WINDOW_TOKENS_FIELD_NUMBER: _ClassVar[int]
    CHARGE_INPUT_WHEN_CLIENT_GONE_BEFORE_OUTPUT_FIELD_NUMBER: _ClassVar[int]
    OVERAGE_TARIFF_ID_FIELD_NUMBER: _ClassVar[int]
    PRICE_FIELD_NUMBER: _ClassVar[int]
    PAYMENT_METHODS_FIELD_NUMBER: _ClassVar[int]
    CYCLE_FIELD_NUMBER: _ClassVar[int]
    AUTOMATIC_RENEWAL_FIELD_NUMBER: _ClassVar[int]
    RENEWAL_GRACE_DAYS_FIELD_NUMBER: _ClassVar[int]
    ALLOWANCES_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    FINAL_UNIT_FIELD_NUMBER: _ClassVar[int]
    REDIRECT_OFFERING_ID_FIELD_NUMBER: _ClassVar[int]
    RESTRICTED_MODEL_ID_FIELD_NUMBER: _ClassVar[int]
    DEBT_LIMITS_FIELD_NUMBER: _ClassVar[int]
    ABANDONED_ANSWER_FIELD_NUMBER: _ClassVar[int]
    REQUIRED_REGIONS_FIELD_NUMBER: _ClassVar[int]
    PREFERRED_REGIONS_FIELD_NUMBER: _ClassVar[int]
    EQUIVALENT_MODELS_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_CLASS_FIELD_NUMBER: _ClassVar[int]
    WITHOUT_REFUND_FIELD_NUMBER: _ClassVar[int]
    ONCE_FIELD_NUMBER: _ClassVar[int]
    WITHDRAWN_FIELD_NUMBER: _ClassVar[int]
    ONLY_GRANTED_FIELD_NUMBER: _ClassVar[int]
    offering_id: str
    display_name: str
    tariff_id: str
    model_ids: _containers.RepeatedScalarFieldContainer[str]
    reservation_policy: ReservationPolicy
    output_window_tokens: int
    charge_input_when_client_gone_before_output: bool
    overage_tariff_id: str
    price: Price
    payment_methods: _containers.RepeatedScalarFieldContainer[PaymentMethod]
    cycle: Cycle
    automatic_renewal: bool
    renewal_grace_days: int
    allowances: _containers.RepeatedCompositeFieldContainer[Allowance]
    limits: _containers.RepeatedCompositeFieldContainer[Limit]
    final_unit: FinalUnit
    redirect_offering_id: str
    restricted_model_id: str
    debt_limits: _containers.RepeatedCompositeFieldContainer[DebtLimit]
    abandoned_answer: AbandonedAnswer
    required_regions: _containers.RepeatedScalarFieldContainer[str]
    preferred_regions: _containers.RepeatedScalarFieldContainer[str]
    equivalent_models: bool
    priority_class: PriorityClass
    without_refund: bool
    once: Once
    withdrawn: bool
    only_granted: bool
    def __init__(self, offering_id: _Optional[str] = ..., display_name: _Optional[str] = ..., tariff_id: _Optional[str] = ..., model_ids: _Optional[_Iterable[str]] = ..., reservation_policy: _Optional[_Union[ReservationPolicy, str]] = ..., output_window_tokens: _Optional[int] = ..., charge_input_when_client_gone_before_output: _Optional[bool] = ..., overage_tariff_id: _Optional[str] = ..., price: _Optional[_Union[Price, _Mapping]] = ..., payment_methods: _Optional[_Iterable[_Union[PaymentMethod, str]]] = ..., cycle: _Optional[_Union[Cycle, _Mapping]] = ..., automatic_renewal: _Optional[bool] = ..., renewal_grace_days: _Optional[int] = ..., allowances: _Optional[_Iterable[_Union[Allowance, _Mapping]]] = ..., limits: _Optional[_Iterable[_Union[Limit, _Mapping]]] = ..., final_unit: _Optional[_Union[FinalUnit, str]] = ..., redirect_offering_id: _Optional[str] = ..., restricted_model_id: _Optional[str] = ..., debt_limits: _Optional[_Iterable[_Union[DebtLimit, _Mapping]]] = ..., abandoned_answer: _Optional[_Union[AbandonedAnswer, str]] = ..., required_regions: _Optional[_Iterable[str]] = ..., preferred_regions: _Optional[_Iterable[str]] = ..., equivalent_models: _Optional[bool] = ..., priority_class: _Optional[_Union[PriorityClass, str]] = ..., without_refund: _Optional[bool] = ..., once: _Optional[_Union[Once, _Mapping]] = ..., withdrawn: _Optional[bool] = ..., only_granted: _Optional[bool] = ...) -> None: ...

class Once(_message.Message):
    __slots__ = ("period", "per_identity")
    PERIOD_FIELD_NUMBER: _ClassVar[int]
    PER_IDENTITY_FIELD_NUMBER: _ClassVar[int]
    period: Period
    per_identity: bool
    def __init__(self, period: _Optional[_Union[Period, str]] = ..., per_identity: _Optional[bool] = ...) -> None: ...

class DebtLimit(_message.Message):
    __slots__ = ("unit", "currency", "amount")
    UNIT_FIELD_NUMBER: _ClassVar[int]
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    unit: Unit
    currency: str
    amount: int
    def __init__(self, unit: _Optional[_Union[Unit, str]] = ..., currency: _Optional[str] = ..., amount: _Optional[int] = ...) -> None: ...

class Catalog(_message.Message):
    __slots__ = ("revision", "digest", "vendors", "tokenizer_families", "models", "tariffs", "offerings", "default_offering_id", "model_groups", "exchange_rates", "time_zone", "sources")
    REVISION_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    VENDORS_FIELD_NUMBER: _ClassVar[int]
    TOKENIZER_FAMILIES_FIELD_NUMBER: _ClassVar[int]
    MODELS_FIELD_NUMBER: _ClassVar[int]
    TARIFFS_FIELD_NUMBER: _ClassVar[int]
    OFFERINGS_FIELD_NUMBER: _ClassVar[int]
    DEFAULT_OFFERING_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_GROUPS_FIELD_NUMBER: _ClassVar[int]
    EXCHANGE_RATES_FIELD_NUMBER: _ClassVar[int]
    TIME_ZONE_FIELD_NUMBER: _ClassVar[int]
    SOURCES_FIELD_NUMBER: _ClassVar[int]
    revision: int
    digest: str
    vendors: _containers.RepeatedCompositeFieldContainer[Vendor]
    tokenizer_families: _containers.RepeatedCompositeFieldContainer[TokenizerFamily]
    models: _containers.RepeatedCompositeFieldContainer[Model]
    tariffs: _containers.RepeatedCompositeFieldContainer[Tariff]
    offerings: _containers.RepeatedCompositeFieldContainer[Offering]
    default_offering_id: str
    model_groups: _containers.RepeatedCompositeFieldContainer[ModelGroup]
    exchange_rates: _containers.RepeatedCompositeFieldContainer[ExchangeRate]
    time_zone: str
    sources: _containers.RepeatedCompositeFieldContainer[Source]
    def __init__(self, revision: _Optional[int] = ..., digest: _Optional[str] = ..., vendors: _Optional[_Iterable[_Union[Vendor, _Mapping]]] = ..., tokenizer_families: _Optional[_Iterable[_Union[TokenizerFamily, _Mapping]]] = ..., models: _Optional[_Iterable[_Union[Model, _Mapping]]] = ..., tariffs: _Optional[_Iterable[_Union[Tariff, _Mapping]]] = ..., offerings: _Optional[_Iterable[_Union[Offering, _Mapping]]] = ..., default_offering_id: _Optional[str] = ..., model_groups: _Optional[_Iterable[_Union[ModelGroup, _Mapping]]] = ..., exchange_rates: _Optional[_Iterable[_Union[ExchangeRate, _Mapping]]] = ..., time_zone: _Optional[str] = ..., sources: _Optional[_Iterable[_Union[Source, _Mapping]]] = ...) -> None: ...

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
