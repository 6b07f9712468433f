"""The chart's values as types: their defaults, their documentation and what is refused, in one place.

`python -m charts.values` writes from them what Helm and people read: values.yaml, values.schema.json and README.md of
charts/tokenline. What the services themselves are told (`services.NAME.config`) has the types of their own configs. What an
Ingress lets clients call is written from docs/openapi, into files/client-paths.yaml.
"""

import json
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_args, get_origin, get_type_hints

import msgspec
import yaml
from msgspec import UNSET, Meta, UnsetType, field

from services.accounting.config import AccountingConfig
from services.authentication.config import AuthenticationConfig
from services.billing.config import BillingConfig
from services.edge.config import EdgeConfig
from services.registry.config import RegistryConfig

CHART: Final = Path(__file__).parent / "tokenline"
CLIENT_PATHS: Final = CHART / "files" / "client-paths.yaml"
# What clients call, as they are told.
_CLIENT_DOCUMENTS: Final = tuple(Path(__file__).parents[1] / "docs" / "openapi" / f"{name}.yaml" for name in ("account", "calls"))

# What the chart itself sets, or makes no sense in a pod.
_SET_BY_THE_CHART: Final = {
    *(
        "listen_address",
        "advertised_address",
        "host",
        "port",
        "admin_host",
        "admin_port",
        "database",
        "postgresql",
        "etcd",
        "etcd_prefix",
        "telemetry",
    ),
    *("registry_address", "authentication_address", "accounting_address", "billing_address", "simulator_base_url"),
    *("catalog_folders", "partitions", "hash_key_file", "region", "admin_token_file", "vendor_secrets_folder"),
    *("outbox", "cdr_folder", "carrier"),
    *("drain_notice_ms", "drain_timeout_ms", "health_port"),
    *("grpc_tls", "grpc_tls_port", "grpc_certificate_file", "grpc_key_file", "grpc_ca_file"),
}

Name = Annotated[str, Meta(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", max_length=253)]
NameOrEmpty = Annotated[str, Meta(pattern=r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?)?$", max_length=253)]
Quantity = Annotated[str, Meta(pattern=r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$")]
# A number may be written without quotation marks.
Amount = Quantity | Annotated[int, Meta(ge=0)] | Annotated[float, Meta(ge=0)]
Labels = dict[str, str]


class _Values(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class LabelSelector(_Values, frozen=True):
    """Kubernetes' LabelSelector."""

    matchLabels: Labels | UnsetType = UNSET
    matchExpressions: list[dict[str, Any]] | UnsetType = UNSET


class IpBlock(_Values, frozen=True):
    """Kubernetes' IPBlock."""

    cidr: str
    except_: list[str] | UnsetType = field(default=UNSET, name="except")


class Peer(_Values, frozen=True):
    """Kubernetes' NetworkPolicyPeer."""

    podSelector: LabelSelector | UnsetType = UNSET
    namespaceSelector: LabelSelector | UnsetType = UNSET
    ipBlock: IpBlock | UnsetType = UNSET


class Cell(_Values, frozen=True):
    region: Annotated[
        str,
        Meta(
            description="Required. The region's name, 1 to 16 lower-case letters and digits. It stands in every API key that is "
            "issued here, and cannot be changed later.",
            pattern=r"^[a-z0-9]{1,16}$",
        ),
    ] = ""
    partitions: Annotated[
        int,
        Meta(
            description="Into how many slices the accounts are cut; fixed when the database is made. Have eight for each replica "
            "of accounting that the cell may ever need.",
            ge=1,
            le=4096,
        ),
    ] = 16


class Image(_Values, frozen=True):
    repository: Annotated[str, Meta(description="Where the image is, without tag.", min_length=1)] = "tokenline"
    tag: Annotated[str, Meta(description="Its tag; empty: the chart's appVersion.")] = ""
    digest: Annotated[
        str, Meta(description="Its digest, which then counts instead of the tag.", pattern=r"^(sha256:[0-9a-f]{64})?$")
    ] = ""
    pullPolicy: Annotated[str, Meta(description="When it is pulled.", pattern=r"^(Always|IfNotPresent|Never)$")] = "IfNotPresent"
    pullSecrets: Annotated[list[Name], Meta(description="Secrets of the image registry.")] = []


class Secrets(_Values, frozen=True):
    adminToken: Annotated[
        Name, Meta(description="The Secret whose key `token` opens the administrative API: 16 or more random characters.")
    ] = "tokenline-admin-token"
    hashKey: Annotated[
        Name,
        Meta(
            description="The Secret whose key `key` is the cell's hash key, 32 or more random bytes. Keep a copy elsewhere: "
            "whoever loses it loses all API keys."
        ),
    ] = "tokenline-hash-key"
    vendors: Annotated[
        NameOrEmpty,
        Meta(
            description="The Secret whose keys are the names of vendors' secrets and addresses in the catalog, `api_key_env` and "
            "`base_url_env`. Edges take a change of it without a restart, once Kubernetes has brought it, which takes a minute "
            "or two."
        ),
    ] = ""


class Postgresql(_Values, frozen=True):
    url: Annotated[
        str,
        Meta(
            description="Required. The database, as a libpq URL without user and password: "
            "`postgresql://HOST[:PORT][,HOST...]/NAME`, and behind `?` `target_session_attrs`, `sslmode`, `sslrootcert`, "
            "`sslnegotiation`, `ssl_min_protocol_version`, `ssl_max_protocol_version`.",
            pattern=r"^postgres(ql)?://[^:@/]*(:[0-9,]+)?[^@]*$",
        ),
    ] = ""
    accountingUrls: Annotated[
        list[Annotated[str, Meta(pattern=r"^postgres(ql)?://[^@]+$")]],
        Meta(description="The databases of accounting, if it has several server groups; their number is fixed at installation."),
    ] = []
    secret: Annotated[Name, Meta(description="The Secret whose keys `username` and `password` the services log in with.")] = (
        "tokenline-postgresql"
    )
    migrationSecret: Annotated[
        NameOrEmpty,
        Meta(
            description="The same of a user who may make tables, for the migration job, which lets the user of `secret` read and "
            "write; empty: the user of `secret` makes them."
        ),
    ] = ""
    caSecret: Annotated[
        NameOrEmpty,
        Meta(
            description="The Secret whose key `ca.crt` signed the server's certificate; it is mounted as "
            "/etc/tokenline/postgresql/ca.crt, which the URLs must name: "
            "`?sslmode=verify-full&sslrootcert=/etc/tokenline/postgresql/ca.crt`."
        ),
    ] = ""
    peers: Annotated[
        list[Peer], Meta(description="What network policies let through to the database. Required with `networkPolicy.enabled`.")
    ] = []


class Etcd(_Values, frozen=True):
    endpoints: Annotated[
        list[Annotated[str, Meta(pattern=r"^([^/:]+|\[[0-9a-fA-F:.]+\]):[0-9]+$")]],
        Meta(description="Required. `host:port` of every member, without a scheme."),
    ] = []
    prefix: Annotated[
        str,
        Meta(description="What this cell's keys begin with; empty: `/tokenline/NAMESPACE/`.", pattern=r"^(/[!-~]*/)?$"),
    ] = ""
    tlsSecret: Annotated[
        NameOrEmpty,
        Meta(description="The Secret with `ca.crt`, `tls.crt` and `tls.key`, for encrypted connections; empty: not encrypted."),
    ] = ""
    username: Annotated[str, Meta(description="The user, where etcd asks for one; empty: none.")] = ""
    passwordSecret: Annotated[NameOrEmpty, Meta(description="The Secret whose key `password` is that user's.")] = ""
    peers: Annotated[
        list[Peer], Meta(description="What network policies let through to etcd. Required with `networkPolicy.enabled`.")
    ] = []


class CertManager(_Values, frozen=True):
    enabled: Annotated[bool, Meta(description="Make a cert-manager Certificate for each service, which makes its Secret.")] = False
    issuerName: Annotated[
        NameOrEmpty,
        Meta(
            description="Required with `enabled`. Its issuer, whose authority must sign for this cell alone: whoever it signs for "
            "belongs to the cell."
        ),
    ] = ""
    issuerKind: Annotated[str, Meta(description="The issuer's kind.", pattern=r"^(Issuer|ClusterIssuer)$")] = "Issuer"
    durationHours: Annotated[int, Meta(description="How long a certificate is valid.", ge=2, le=87_600)] = 2_160
    renewBeforeHours: Annotated[int, Meta(description="How long before its end it is replaced.", ge=1, le=87_599)] = 720


class GrpcTls(_Values, frozen=True):
    mode: Annotated[
        str,
        Meta(
            description='`"off"`, with the quotation marks: services call one another without TLS. `both`: they serve with it, '
            "too, at port 7001. `required`: with it only, and each does for another what its role allows. Each needs the Secret "
            "`tokenline-SERVICE-grpc` with `tls.crt`, `tls.key` and `ca.crt`; the certificate names `SERVICE.tokenline`.",
            pattern=r"^(off|both|required)$",
        ),
    ] = "off"
    clients: Annotated[
        bool,
        Meta(
            description="With `both`: services call one another with TLS. A running cell goes from `off` to `both`, then to this, "
            "then to `required`, an upgrade each: each serves the callers of the one before."
        ),
    ] = False
    certManager: CertManager = CertManager()


class ResourceAmounts(_Values, frozen=True):
    cpu: Amount | UnsetType = UNSET
    memory: Amount | UnsetType = UNSET


class Resources(_Values, frozen=True):
    requests: Annotated[ResourceAmounts, Meta(description="What the scheduler sets aside.")]
    limits: Annotated[
        ResourceAmounts,
        Meta(description="What is never passed. No CPU limit by default: it would stop a charging core in the middle of a commit."),
    ]


class Autoscaling(_Values, frozen=True):
    minReplicas: Annotated[int, Meta(ge=1)]
    maxReplicas: Annotated[int, Meta(ge=1)]
    targetCpuPercent: Annotated[int, Meta(ge=1, le=1000)] = 70


class Volume(_Values, frozen=True):
    kind: Annotated[
        str,
        Meta(
            description="`claim`: a PersistentVolumeClaim, which outlives pods and the release. `ephemeral`: gone with the pod; "
            "for trying things out.",
            pattern=r"^(claim|ephemeral)$",
        ),
    ] = "claim"
    size: Annotated[str, Meta(description="How large, in whole Gi or Ti.", pattern=r"^([1-9][0-9]{0,4}Gi|[1-9][0-9]{0,2}Ti)$")] = (
        "1Gi"
    )
    storageClassName: Annotated[str, Meta(description="Its StorageClass; empty: the cluster's default one.")] = ""


_REPLICAS: Final = Annotated[int, Meta(description="How many pods, unless `autoscaling` says.", ge=1, le=1000)]
_AUTOSCALING: Final = Annotated[
    Autoscaling | None,
    Meta(description="Scales by CPU: `{minReplicas: 2, maxReplicas: 8, targetCpuPercent: 70}`; null: not."),
]


def _resources(cpu: str, memory: str, memory_max: str) -> Resources:
    return Resources(requests=ResourceAmounts(cpu=cpu, memory=memory), limits=ResourceAmounts(memory=memory_max))


class Authentication(_Values, frozen=True):
    replicas: _REPLICAS = 2  # type: ignore[valid-type]  # a description shared by several services
    autoscaling: _AUTOSCALING = None  # type: ignore[valid-type]
    resources: Resources = _resources("50m", "96Mi", "512Mi")
    config: Annotated[dict[str, Any], Meta(extra_json_schema={"config": "authentication"})] = {}


class Registry(_Values, frozen=True):
    replicas: _REPLICAS = 2  # type: ignore[valid-type]
    autoscaling: _AUTOSCALING = None  # type: ignore[valid-type]
    resources: Resources = _resources("50m", "96Mi", "512Mi")
    config: Annotated[dict[str, Any], Meta(extra_json_schema={"config": "registry"})] = {}


class Accounting(_Values, frozen=True):
    replicas: _REPLICAS = 2  # type: ignore[valid-type]
    autoscaling: _AUTOSCALING = None  # type: ignore[valid-type]
    resources: Resources = _resources("250m", "160Mi", "2Gi")
    config: Annotated[dict[str, Any], Meta(extra_json_schema={"config": "accounting"})] = {}


class Billing(_Values, frozen=True):
    resources: Resources = _resources("50m", "96Mi", "1Gi")
    volume: Annotated[
        Volume,
        Meta(description="Where CDR files go. `tokenline reconcile --write-missing` writes lost ones again from the journal."),
    ] = Volume(size="10Gi")
    config: Annotated[dict[str, Any], Meta(extra_json_schema={"config": "billing"})] = {}


class EdgeService(_Values, frozen=True):
    type: Annotated[
        str, Meta(description="Of the Service that takes clients' calls.", pattern=r"^(ClusterIP|NodePort|LoadBalancer)$")
    ] = "ClusterIP"
    port: Annotated[int, Meta(description="Its port.", ge=1, le=65535)] = 80
    nodePort: Annotated[int, Meta(description="The nodes' port, for NodePort; 0: any.", ge=0, le=65535)] = 0
    annotations: Annotated[Labels, Meta(description="For a cloud's load balancer.")] = {}


class Edge(_Values, frozen=True):
    replicas: _REPLICAS = 2  # type: ignore[valid-type]
    autoscaling: _AUTOSCALING = None  # type: ignore[valid-type]
    resources: Resources = _resources("250m", "128Mi", "1Gi")
    service: EdgeService = EdgeService()
    volume: Annotated[
        Volume,
        Meta(
            description="Where each edge keeps Releases that accounting has not answered. It belongs to the pod's number and comes "
            "back with it; those in a volume that is lost are charged as swept: what was last reported."
        ),
    ] = Volume()
    drainNoticeSeconds: Annotated[
        int,
        Meta(
            description="How long a stopping edge goes on taking calls and tells clients to close, while load balancers forget it.",
            ge=0,
            le=60,
        ),
    ] = 10
    drainSeconds: Annotated[
        int,
        Meta(
            description="How long a stopping edge lets calls end. A stream that takes longer is cut off and charged for what it "
            "had sent; so this should exceed the longest stream.",
            ge=1,
            le=3600,
        ),
    ] = 600
    config: Annotated[dict[str, Any], Meta(extra_json_schema={"config": "edge"})] = {}


class Services(_Values, frozen=True):
    authentication: Annotated[Authentication, Meta(description="Members and API keys.")] = Authentication()
    registry: Annotated[Registry, Meta(description="The catalog.")] = Registry()
    accounting: Annotated[Accounting, Meta(description="Accounts and charging; replicas share the partitions.")] = Accounting()
    billing: Annotated[Billing, Meta(description="CDR files and reconciliation; one pod, which may be away.")] = Billing()
    edge: Annotated[Edge, Meta(description="What clients and people talk to.")] = Edge()


class VendorSimulator(_Values, frozen=True):
    enabled: Annotated[bool, Meta(description="Run a vendor simulator, which serves every vendor that has no secret.")] = False


class NetworkPolicy(_Values, frozen=True):
    enabled: Annotated[bool, Meta(description="Deny everything but the cell's own connections.")] = True
    clients: Annotated[list[Peer], Meta(description="Who may call the edge as a client; empty: everybody who reaches it.")] = []
    operators: Annotated[
        list[Peer],
        Meta(
            description="Who may reach the edges' listener for operators, on which the administrative API is; empty: `helm test`, "
            "`kubectl exec` and `kubectl port-forward` alone."
        ),
    ] = []
    vendors: Annotated[tuple[Peer, ...], Meta(description="Where the edge reaches vendors; by default public addresses.")] = (
        Peer(
            ipBlock=IpBlock(
                cidr="0.0.0.0/0",
                except_=["10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16"],
            )
        ),
    )
    vendorPorts: Annotated[tuple[Annotated[int, Meta(ge=1, le=65535)], ...], Meta(description="On which ports.", min_length=1)] = (
        443,
    )
    monitoring: Annotated[
        list[Peer], Meta(description="Who may read metrics, an edge's on its listener for operators; empty: nobody.")
    ] = []
    telemetry: Annotated[list[Peer], Meta(description="Where the OTLP collector is.")] = []


class Carrier(_Values, frozen=True):
    address: Annotated[
        str,
        Meta(
            description="The root of the operator's carrier billing after CAMARA, as `https://api.operator.example`; empty: the "
            "phone bill is handed on to nobody.",
            pattern=r"^(https://[^/?#@]+(/[^?#]*[^/?#])?)?$",
        ),
    ] = ""
    tokenUrl: Annotated[str, Meta(description="Where its access tokens are given.", pattern=r"^(https://[^?#@]+)?$")] = ""
    clientId: Annotated[str, Meta(description="This cell, as the operator knows it.")] = ""
    keySecret: Annotated[
        NameOrEmpty, Meta(description="The Secret whose key `key.pem` signs who asks. A change of it is taken without a restart.")
    ] = ""
    keyId: Annotated[str, Meta(description="The key's identifier at the operator, if it has several.")] = ""
    steps: Annotated[
        str, Meta(description="`two`: payments are reserved, then confirmed; `one`: billed at once.", pattern=r"^(one|two)$")
    ] = "two"
    usageIntervalSeconds: Annotated[
        int, Meta(description="How long use of a credit line is added up before it is asked for.", ge=1, le=2_678_400)
    ] = 86_400
    peers: Annotated[list[Peer], Meta(description="Where billing reaches it, and `tokenUrl`. Required with `address`.")] = []
    ports: Annotated[tuple[Annotated[int, Meta(ge=1, le=65535)], ...], Meta(description="On which ports.", min_length=1)] = (443,)


class Books(_Values, frozen=True):
    schedule: Annotated[
        str,
        Meta(
            description="When `tokenline audit` and `tokenline reconcile` run, as cron says it, in the time zone of Kubernetes' "
            "controllers, mostly UTC; at least daily, since the alert TokenlineBooksAreNotChecked waits for a day. Empty: somebody "
            "else runs them.",
            pattern=r"^(([-0-9*,/]+ ){2}[-0-9*,/?]+ [-0-9A-Za-z*,/]+ [-0-9A-Za-z*,/?]+)?$",
        ),
    ] = "17 3 * * *"


class Ingress(_Values, frozen=True):
    enabled: Annotated[bool, Meta(description="Make an Ingress for what clients call.")] = False
    className: Annotated[str, Meta(description="Its class; empty: the cluster's default one.")] = ""
    host: Annotated[str, Meta(description="Required with `enabled`. The host name that clients call.")] = ""
    tlsSecret: Annotated[NameOrEmpty, Meta(description="The Secret of its certificate; empty: without TLS.")] = ""
    annotations: Annotated[
        Labels,
        Meta(
            description="For the controller. Streams need no buffering and a long read time-out; bodies are as large as "
            "`services.edge.config.body_bytes_max`, 20 MB. Codex and others ask for WebSocket, which most controllers pass on."
        ),
    ] = {}


class AdminIngress(_Values, frozen=True):
    enabled: Annotated[bool, Meta(description="Make an Ingress for the administrative API, and nothing else.")] = False
    className: Annotated[str, Meta(description="Its class, of a controller that clients do not reach; empty: the default one.")] = (
        ""
    )
    host: Annotated[str, Meta(description="Required with `enabled`. Its host name, another than that of `ingress`.")] = ""
    tlsSecret: Annotated[NameOrEmpty, Meta(description="The Secret of its certificate; empty: without TLS.")] = ""
    annotations: Annotated[Labels, Meta(description="For the controller.")] = {}


class ServiceMonitor(_Values, frozen=True):
    enabled: Annotated[bool, Meta(description="Make a ServiceMonitor of the Prometheus operator.")] = False
    intervalSeconds: Annotated[int, Meta(description="How often metrics are read.", ge=1, le=3600)] = 15
    labels: Annotated[Labels, Meta(description="By which Prometheus finds it.")] = {}


class PrometheusRule(_Values, frozen=True):
    enabled: Annotated[bool, Meta(description="Make a PrometheusRule with the cell's alerts, for Prometheus 2.42 or newer.")] = (
        False
    )
    labels: Annotated[Labels, Meta(description="By which Prometheus finds it.")] = {}


class Monitoring(_Values, frozen=True):
    serviceMonitor: ServiceMonitor = ServiceMonitor()
    prometheusRule: PrometheusRule = PrometheusRule()


LogLevel = Literal["debug", "info", "warning", "error"]


class Telemetry(_Values, frozen=True):
    logFormat: Annotated[
        Literal["text", "json"], Meta(description="How a line of the log looks: for people, or a JSON object.")
    ] = "text"
    logLevel: Annotated[LogLevel, Meta(description="The least level of lines that are logged.")] = "info"
    logLevels: Annotated[
        dict[str, LogLevel],
        Meta(description="That of single loggers, by the name that lines show: `{edge.routing: debug}`."),
    ] = {}
    otlpEndpoint: Annotated[str, Meta(description="Where spans go, `host:port` of an OTLP collector; empty: nowhere.")] = ""
    traceSamplePpm: Annotated[
        int,
        Meta(description="The share of calls whose traces are kept in any case, in parts of a million.", ge=0, le=1_000_000),
    ] = 1000
    traceSlowMs: Annotated[
        int, Meta(description="Calls that take longer are kept as those are that fail or are refused.", ge=1, le=86_400_000)
    ] = 60_000


class PriorityClasses(_Values, frozen=True):
    create: Annotated[
        bool,
        Meta(description="Make two PriorityClasses, which are the cluster's: what serves calls stays before what exports."),
    ] = True


class Values(_Values, frozen=True):
    """The values of charts/tokenline."""

    cell: Annotated[Cell, Meta(description="What this cell is.")] = Cell()
    image: Annotated[Image, Meta(description="The image of all services.")] = Image()
    secrets: Annotated[Secrets, Meta(description="Secrets that exist before the release, in its namespace.")] = Secrets()
    postgresql: Annotated[Postgresql, Meta(description="The database; it is not part of the release.")] = Postgresql()
    etcd: Annotated[Etcd, Meta(description="etcd; it is not part of the release.")] = Etcd()
    grpcTls: Annotated[GrpcTls, Meta(description="Certificates between the services.")] = GrpcTls()
    catalog: Annotated[
        dict[str, str],
        Meta(
            description='The branch\'s catalog layer over the base catalog, by file name: `{offerings.yaml: "..."}`, or '
            "`--set-file 'catalog.offerings\\.yaml=FILE'`."
        ),
    ] = {}
    services: Annotated[Services, Meta(description="The services, each with its own scale.")] = Services()
    carrier: Annotated[Carrier, Meta(description="The operator's billing of phone lines, which billing asks.")] = Carrier()
    books: Annotated[Books, Meta(description="The daily proof that nothing was lost or charged twice.")] = Books()
    vendorSimulator: Annotated[VendorSimulator, Meta(description="For trying things out.")] = VendorSimulator()
    networkPolicy: Annotated[NetworkPolicy, Meta(description="Who may talk to whom.")] = NetworkPolicy()
    ingress: Annotated[Ingress, Meta(description="The clients' way in from outside.")] = Ingress()
    adminIngress: Annotated[AdminIngress, Meta(description="The operators' way in from outside.")] = AdminIngress()
    monitoring: Annotated[Monitoring, Meta(description="For the Prometheus operator.")] = Monitoring()
    telemetry: Annotated[Telemetry, Meta(description="Logs and traces.")] = Telemetry()
    priorityClasses: Annotated[PriorityClasses, Meta(description="What goes first when a node is full.")] = PriorityClasses()
    nodeSelector: Annotated[Labels, Meta(description="Nodes that pods may run on.")] = {}
    tolerations: Annotated[list[dict[str, Any]], Meta(description="Taints that pods bear.")] = []


_CONFIGS: Final[dict[str, type[msgspec.Struct]]] = {
    "authentication": AuthenticationConfig,
    "registry": RegistryConfig,
    "accounting": AccountingConfig,
    "billing": BillingConfig,
    "edge": EdgeConfig,
}


def schema() -> dict[str, Any]:
    """The JSON Schema of the values: unknown keys are refused everywhere."""
    root = msgspec.json.schema(Values)
    for definition in root["$defs"].values():
        for name, config in list(definition.get("properties", {}).items()):
            if "config" in config:
                definition["properties"][name] = _config_schema(config["config"])
    # What has no sensible default must be given.
    for name, needed in (("Cell", ["region"]), ("Postgresql", ["url"])):
        root["$defs"][name]["required"] = needed
    root["$defs"]["Etcd"]["properties"]["endpoints"]["minItems"] = 1
    # The registry passes over files of other names.
    root["$defs"]["Values"]["properties"]["catalog"]["propertyNames"] = {"pattern": r"^[a-zA-Z0-9_][-._a-zA-Z0-9]*\.yaml$"}
    # Helm hands subcharts this key.
    root["$defs"]["Values"]["properties"]["global"] = {"type": "object"}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **root}


def _config_schema(service: str) -> dict[str, Any]:
    kind = _CONFIGS[service]
    own = msgspec.json.schema(kind)["$defs"][kind.__name__]["properties"]
    allowed = {name: each for name, each in own.items() if name not in _SET_BY_THE_CHART}
    return {
        "type": "object",
        "description": _config_description(service),
        "properties": allowed,
        "additionalProperties": False,
    }


def _config_description(service: str) -> str:
    kind = _CONFIGS[service]
    names = [f"`{each}`" for each in kind.__struct_fields__ if each not in _SET_BY_THE_CHART]
    said = f"Further settings, as services/{service}/config.py describes them"
    return f"{said}: {', '.join(names)}." if names else f"Further settings of {service}: there are none."


def _fields(kind: Any, values: msgspec.Struct, path: str) -> Iterator[tuple[str, str, Any, bool]]:
    """Path, description, default of every value, and whether it is a group of others."""
    hints = get_type_hints(kind, include_extras=True)
    for name, key in zip(kind.__struct_fields__, kind.__struct_encode_fields__, strict=True):
        hint, value = hints[name], getattr(values, name)
        metas = get_args(hint)[1:] if get_origin(hint) is Annotated else ()
        description = next((each.description for each in metas if each.description), "")
        for each in metas:
            if each.extra_json_schema:
                description = _config_description(each.extra_json_schema["config"])
        is_group = isinstance(value, _Values) and not isinstance(value, ResourceAmounts)
        yield f"{path}{key}", description, value, is_group
        if is_group:
            yield from _fields(type(value), value, f"{path}{key}.")


def values_yaml() -> str:
    """The defaults, each with its description above it."""
    lines = [
        "# The values of Tokenline's chart. Written by `make generate` from charts/values.py; README.md has them as a table.",
    ]
    for path, description, value, is_group in _fields(Values, Values(), ""):
        depth = path.count(".")
        indent = "  " * depth
        if depth == 0:
            lines.append("")
        lines += [f"{indent}# {line}" for line in _wrapped(description, 128 - len(indent))]
        key = path.rpartition(".")[2]
        if is_group:
            lines.append(f"{indent}{key}:")
            continue
        plain = json.loads(msgspec.json.encode(value))
        if isinstance(plain, list) and plain:
            text = yaml.safe_dump(plain, sort_keys=False, width=1000)
            lines += [f"{indent}{key}:", *(f"{indent}  {line}" for line in text.splitlines())]
        else:
            lines.append(f"{indent}{key}: {json.dumps(plain)}")
    return "\n".join(lines) + "\n"


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width - 2, break_long_words=False, break_on_hyphens=False)


def values_table() -> str:
    """The values as a Markdown table."""
    rows = ["| value | default | meaning |", "|---|---|---|"]
    for path, description, value, is_group in _fields(Values, Values(), ""):
        if is_group:
            if "." not in path:
                rows.append(f"| **{path}** | | **{description}** |")
            elif description:
                rows.append(f"| `{path}` | | {description} |")
            continue
        rows.append(f"| `{path}` | `{msgspec.json.encode(value).decode()}` | {description} |")
    return "\n".join(rows) + "\n"


def client_paths() -> str:
    """The paths of an Ingress that leads to what clients call and nowhere else: none is a part of another."""
    documents = (yaml.safe_load(each.read_text(encoding="utf-8")) for each in _CLIENT_DOCUMENTS)
    called = {path.partition("{")[0].rstrip("/") or "/" for each in documents for path in each["paths"]}
    outermost = sorted(path for path in called if not any(path.startswith(f"{other}/") for other in called - {"/"}))
    # As a prefix, the root would lead everywhere.
    kinds = {path: "Exact" if path == "/" else "Prefix" for path in outermost}
    lines = ["# What an Ingress lets clients call. Written by `make generate` from docs/openapi."]
    return "\n".join([*lines, *(f"- {{path: {path}, pathType: {kind}}}" for path, kind in kinds.items())]) + "\n"


def main() -> None:
    """Writes the four files."""
    CLIENT_PATHS.parent.mkdir(exist_ok=True)
    CLIENT_PATHS.write_text(client_paths(), encoding="utf-8")
    (CHART / "values.yaml").write_text(values_yaml(), encoding="utf-8")
    (CHART / "values.schema.json").write_text(json.dumps(schema(), indent=2) + "\n", encoding="utf-8")
    readme = (CHART / "README.md").read_text(encoding="utf-8") if (CHART / "README.md").exists() else "<!-- values -->\n"
    before, _, _ = readme.partition("<!-- values -->")
    head = f"{before}<!-- values -->\nWritten by `make generate` from charts/values.py.\n\n"
    (CHART / "README.md").write_text(head + values_table(), encoding="utf-8")


if __name__ == "__main__":
    main()
