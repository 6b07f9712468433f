"""Faults of the chart: in what its objects say, and in the defaults of its values."""

from typing import Final

from tests.mutations.planting import Mutation

_HELPERS: Final = "charts/tokenline/templates/_helpers.tpl"
_ACCOUNTS: Final = "charts/tokenline/templates/accounts.yaml"
_AVAILABILITY: Final = "charts/tokenline/templates/availability.yaml"
_CHECKS: Final = "charts/tokenline/templates/checks.yaml"
_CLIENT_PATHS: Final = "charts/tokenline/files/client-paths.yaml"
_INGRESS: Final = "charts/tokenline/templates/ingress.yaml"
_JOBS: Final = "charts/tokenline/templates/jobs.yaml"
_MONITORING: Final = "charts/tokenline/templates/monitoring.yaml"
_NETWORK: Final = "charts/tokenline/templates/network.yaml"
_SERVICES: Final = "charts/tokenline/templates/services.yaml"
_WORKLOADS: Final = "charts/tokenline/templates/workloads.yaml"
_VALUES: Final = "charts/tokenline/values.yaml"
_STORES: Final = "infra/development/stores.yaml"

_OF_ALREADY_THERE: Final = ("tests/charts/test_already_there.py",)
_OF_CONFIGURATION: Final = ("tests/charts/test_configuration.py",)
_OF_DEVELOPMENT: Final = ("tests/charts/test_development.py",)
_OF_DOORS: Final = ("tests/charts/test_doors.py",)
_OF_FIELDS: Final = ("tests/charts/test_fields.py",)
_OF_LIFECYCLE: Final = ("tests/charts/test_lifecycle.py",)
_OF_NETWORK: Final = ("tests/charts/test_network.py",)
_OF_PODS: Final = ("tests/charts/test_pods.py",)
_OF_VALUES: Final = ("tests/charts/test_values.py",)

_BOOKS: Final = "charts/tokenline/templates/books.yaml"

_CONNECTIONS: Final = (
    Mutation(
        "the nightly proof reaches all ports of edges",
        _BOOKS,
        (("    - ports: [{port: 8081}]\n      to:\n", "    - to:\n"),),
        _OF_NETWORK,
    ),
    Mutation(
        "the books are checked on a day that never comes",
        _BOOKS,
        (("  schedule: {{ .Values.books.schedule | quote }}\n", '  schedule: "0 0 31 2 *"\n'),),
        _OF_LIFECYCLE,
    ),
    Mutation(
        "anybody may call a service",
        _NETWORK,
        (
            (
                "      from:\n"
                "        {{- range $facts.callers }}\n"
                "        - podSelector:\n"
                "            matchLabels:\n"
                '              {{- include "tokenline.selector" (dict "root" $ "service" .) | nindent 14 }}\n'
                "        {{- end }}\n",
                "",
            ),
        ),
        _OF_NETWORK,
    ),
    Mutation(
        "a pod that no policy knows may call anybody",
        _NETWORK,
        (("  policyTypes: [Ingress, Egress]\n---\n{{- range", "  policyTypes: [Ingress]\n---\n{{- range"),),
        _OF_NETWORK,
    ),
    Mutation(
        "a service may call anybody",
        _NETWORK,
        (("  policyTypes: [Ingress, Egress]\n  ingress:\n", "  policyTypes: [Ingress]\n  ingress:\n"),),
        _OF_NETWORK,
    ),
    Mutation(
        "the edge calls vendors' port of anybody",
        _NETWORK,
        (
            (
                "      to: {{- toYaml . | nindent 8 }}\n    {{- end }}\n    {{- if $.Values.vendor",
                "    {{- end }}\n    {{- if $.Values.vendor",
            ),
        ),
        _OF_NETWORK,
    ),
    Mutation(
        "the edge calls every port of vendors",
        _NETWORK,
        (
            (
                "    - ports:\n        {{- range $policy.vendorPorts }}\n        - {port: {{ . }}}\n        {{- end }}\n      to:",
                "    - to:",
            ),
        ),
        _OF_NETWORK,
    ),
    Mutation(
        "the cloud's metadata counts as a vendor",
        _VALUES,
        (("        - 169.254.0.0/16\n", ""),),
        _OF_NETWORK,
    ),
    Mutation(
        "authentication may be called by all",
        _HELPERS,
        (("authentication: {callers: [edge],", "authentication: {callers: [edge, billing, accounting, registry],"),),
        _OF_NETWORK,
    ),
    Mutation(
        "billing may not call accounting",
        _HELPERS,
        (("billing: {callers: [edge], calls: [accounting],", "billing: {callers: [edge], calls: [],"),),
        _OF_NETWORK,
    ),
    Mutation(
        "services may call one another on any port",
        _NETWORK,
        (
            (
                "    - ports:\n"
                '        {{- range include "tokenline.grpcPorts" $ | fromYamlArray }}\n'
                "        - {port: {{ .port }}}\n"
                "        {{- end }}\n"
                "      to:",
                "    - to:",
            ),
        ),
        _OF_NETWORK,
    ),
    Mutation(
        "every service reaches the database",
        _NETWORK,
        (("    {{- if $facts.database }}\n", "    {{- if true }}\n"),),
        _OF_NETWORK,
    ),
    Mutation(
        "anybody may read metrics",
        _NETWORK,
        (
            (
                "    - ports: [{port: metrics}]\n      from: {{- toYaml $policy.monitoring | nindent 8 }}\n",
                "    - ports: [{port: metrics}]\n",
            ),
        ),
        _OF_NETWORK,
    ),
    Mutation(
        "who reads metrics and is told of no ServiceMonitor is locked out",
        _NETWORK,
        (("    {{- if and $policy.monitoring (ne $name", "    {{- if and $.Values.monitoring.serviceMonitor.enabled (ne $name"),),
        _OF_NETWORK,
    ),
    Mutation(
        "clients may reach the operators' listener",
        _NETWORK,
        (("    - ports: [{port: http}]\n", "    - ports: [{port: http}, {port: admin}]\n"),),
        _OF_NETWORK,
    ),
    Mutation(
        "anybody may reach the operators' listener",
        _NETWORK,
        (
            (
                "        {{- with concat $policy.operators $policy.monitoring }}\n"
                "        {{- toYaml . | nindent 8 }}\n"
                "        {{- end }}\n",
                "        - namespaceSelector: {}\n",
            ),
        ),
        _OF_NETWORK,
    ),
    Mutation(
        "operators are locked out of their listener",
        _NETWORK,
        (("concat $policy.operators $policy.monitoring", "$policy.monitoring"),),
        _OF_NETWORK,
    ),
    Mutation(
        "clients that are named do not count",
        _NETWORK,
        (("      {{- with $policy.clients }}\n      from: {{- toYaml . | nindent 8 }}\n", "      {{- with $policy.clients }}\n"),),
        _OF_NETWORK,
    ),
    Mutation(
        "the migration reaches etcd",
        _JOBS,
        (
            ('    {{- if eq $name "recovery" }}\n    - to:', "    - to:"),
            ("    {{- end }}\n---\n{{- end }}\n{{- end }}\napi", "---\n{{- end }}\n{{- end }}\napi"),
        ),
        _OF_NETWORK,
    ),
    Mutation(
        "development's database is for every pod of a cell",
        _STORES,
        (
            (
                "              - {key: app.kubernetes.io/component, operator: In, "
                "values: [accounting, authentication, billing, migration, recovery]}\n",
                "              - {key: app.kubernetes.io/component, operator: Exists}\n",
            ),
        ),
        _OF_NETWORK,
    ),
)

_RIGHTS: Final = (
    Mutation("pods may run as root", _HELPERS, (("  runAsNonRoot: true\n", "  runAsNonRoot: false\n"),), _OF_PODS),
    Mutation("pods run as root's group", _HELPERS, (("  runAsGroup: 10001\n", "  runAsGroup: 0\n"),), _OF_PODS),
    Mutation("pods are without seccomp", _HELPERS, (("{type: RuntimeDefault}", "{type: Unconfined}"),), _OF_PODS),
    Mutation(
        "pods get a token of Kubernetes",
        _HELPERS,
        (("automountServiceAccountToken: false\n", "automountServiceAccountToken: true\n"),),
        _OF_PODS,
    ),
    Mutation(
        "pods share the node's network",
        _HELPERS,
        (("enableServiceLinks: false\n", "enableServiceLinks: false\nhostNetwork: true\n"),),
        _OF_PODS,
    ),
    Mutation(
        "containers may gain rights", _HELPERS, (("allowPrivilegeEscalation: false", "allowPrivilegeEscalation: true"),), _OF_PODS
    ),
    Mutation(
        "containers write to their root", _HELPERS, (("readOnlyRootFilesystem: true", "readOnlyRootFilesystem: false"),), _OF_PODS
    ),
    Mutation(
        "containers keep capabilities", _HELPERS, (("capabilities: {drop: [ALL]}", "capabilities: {drop: [NET_RAW]}"),), _OF_PODS
    ),
    Mutation(
        "a tag counts where a digest was given",
        _HELPERS,
        (("{{- if .digest }}{{ .repository }}@{{ .digest }}{{ else }}", "{{- if false }}{{ else }}"),),
        _OF_PODS,
    ),
    Mutation(
        "every service has the vendors' secrets",
        _HELPERS,
        (
            (
                "{{- if $values.secrets.vendors }}\n- {name: vendors,",
                "{{- end }}\n{{- if $values.secrets.vendors }}\n- {name: vendors,",
            ),
            (
                "secrets.vendors }}, defaultMode: 288}}\n{{- end }}\n{{- end }}\n",
                "secrets.vendors }}, defaultMode: 288}}\n{{- end }}\n",
            ),
        ),
        _OF_PODS,
    ),
    Mutation(
        "each edge takes the whole of a contract for its share",
        _HELPERS,
        (('"edges_max" (int $edges)', '"edges_max" 1'),),
        _OF_CONFIGURATION,
    ),
    Mutation(
        "the edge has the hash key",
        _HELPERS,
        (
            (
                '{{- if eq .service "authentication" }}\n- {name: hash-key',
                '{{- if has .service (list "authentication" "edge") }}\n- {name: hash-key',
            ),
        ),
        _OF_PODS,
    ),
    Mutation(
        "the edge has the database's password",
        _WORKLOADS,
        (("            {{- if $facts.database }}\n", '            {{- if or $facts.database (eq $name "edge") }}\n'),),
        _OF_PODS,
    ),
    Mutation(
        "everybody in a pod reads its secrets",
        _HELPERS,
        (("adminToken }}, defaultMode: 288}", "adminToken }}, defaultMode: 420}"),),
        _OF_PODS,
    ),
    Mutation(
        "the services make the tables that another user should own",
        _JOBS,
        (("($.Values.postgresql.migrationSecret | default $.Values.postgresql.secret)", "$.Values.postgresql.secret"),),
        _OF_PODS,
    ),
)

_LOOKS: Final = (
    Mutation(
        "a service is ready as soon as it lives",
        _WORKLOADS,
        (("            grpc: {port: 7002}\n", "            grpc: {port: 7002, service: liveness}\n"),),
        _OF_PODS,
    ),
    Mutation(
        "a service that waits for its database is killed",
        _WORKLOADS,
        (
            (
                "            grpc: {port: 7002, service: liveness}\n          {{- end }}\n            periodSeconds: 10\n",
                "            grpc: {port: 7002}\n          {{- end }}\n            periodSeconds: 10\n",
            ),
        ),
        _OF_PODS,
    ),
    Mutation(
        "an edge is ready only with accounting",
        _WORKLOADS,
        (
            (
                "          readinessProbe:\n            httpGet: {path: /healthz,",
                "          readinessProbe:\n            httpGet: {path: /readyz,",
            ),
        ),
        _OF_PODS,
    ),
    Mutation(
        "an edge is killed while accounting is away",
        _WORKLOADS,
        (
            (
                "          livenessProbe:\n            httpGet: {path: /healthz,",
                "          livenessProbe:\n            httpGet: {path: /readyz,",
            ),
        ),
        _OF_PODS,
    ),
    Mutation(
        "an edge takes calls before it has found the others",
        _WORKLOADS,
        (
            (
                "          startupProbe:\n            httpGet: {path: /readyz,",
                "          startupProbe:\n            httpGet: {path: /healthz,",
            ),
        ),
        _OF_PODS,
    ),
    Mutation(
        "an edge is looked at where clients come in",
        _WORKLOADS,
        (
            (
                "          livenessProbe:\n            httpGet: {path: /healthz, port: admin}",
                "          livenessProbe:\n            httpGet: {path: /healthz, port: http}",
            ),
        ),
        _OF_PODS,
    ),
    Mutation(
        "commands in a pod talk to the clients' listener",
        _WORKLOADS,
        (('value: "http://127.0.0.1:8081"', 'value: "http://127.0.0.1:8080"'),),
        _OF_PODS,
    ),
    Mutation(
        "a pod is killed at the first look that fails",
        _WORKLOADS,
        (("            failureThreshold: 3\n", "            failureThreshold: 1\n"),),
        _OF_PODS,
    ),
    Mutation(
        "a database that is away ends a start",
        _WORKLOADS,
        (("            failureThreshold: 3600\n", "            failureThreshold: 30\n"),),
        _OF_PODS,
    ),
    Mutation(
        "an edge has no limit of memory",
        _WORKLOADS,
        (
            (
                "          resources: {{- toYaml . | nindent 12 }}\n",
                '          resources: {{- toYaml (omit . "limits") | nindent 12 }}\n',
            ),
        ),
        _OF_PODS,
    ),
    Mutation(
        "pods of a service stand on one node",
        _WORKLOADS,
        (
            (
                '{{- range list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}',
                '{{- range list "topology.kubernetes.io/zone" }}',
            ),
        ),
        _OF_PODS,
    ),
    Mutation(
        "what exports stays before what serves",
        _HELPERS,
        (('ternary "exporting" "serving" (eq .service "billing")', 'ternary "serving" "exporting" (eq .service "billing")'),),
        _OF_PODS,
    ),
    Mutation(
        "replicas of accounting are found through their Service",
        _WORKLOADS,
        (('"$(POD_IP):7000"', '"tokenline-accounting:7000"'),),
        _OF_PODS,
    ),
)

_ENDS: Final = (
    Mutation(
        "accounting gets 5 s to hand over",
        _WORKLOADS,
        (("terminationGracePeriodSeconds: 60\n", "terminationGracePeriodSeconds: 5\n"),),
        _OF_LIFECYCLE,
    ),
    Mutation(
        "an edge is killed before its drain is over",
        _WORKLOADS,
        (("{{ add $service.drainNoticeSeconds $service.drainSeconds 20 $release }}", "{{ add $service.drainSeconds 20 }}"),),
        _OF_LIFECYCLE,
    ),
    Mutation(
        "an edge is not told how long it may drain",
        _HELPERS,
        ((' "drain_timeout_ms" (mul 1000 $edge.drainSeconds)) }}', ") }}"),),
        _OF_LIFECYCLE,
    ),
    Mutation(
        "an edge does not tell clients that it goes",
        _HELPERS,
        ((' "drain_notice_ms" (mul 1000 $edge.drainNoticeSeconds)', ""),),
        _OF_LIFECYCLE,
    ),
    Mutation("streams get a minute by default", _VALUES, (("    drainSeconds: 600\n", "    drainSeconds: 60\n"),), _OF_LIFECYCLE),
    Mutation(
        "a service goes while its callers still call",
        _WORKLOADS,
        (("            preStop: {sleep: {seconds: 3}}\n", "            preStop: {sleep: {seconds: 0}}\n"),),
        _OF_LIFECYCLE,
    ),
    Mutation(
        "all pods of a service may go for a drain",
        _AVAILABILITY,
        (("  maxUnavailable: 1\n", '  maxUnavailable: "100%"\n'),),
        _OF_LIFECYCLE,
    ),
    Mutation(
        "a pod that does not get ready holds up a drain",
        _AVAILABILITY,
        (("  unhealthyPodEvictionPolicy: AlwaysAllow\n", ""),),
        _OF_LIFECYCLE,
    ),
    Mutation(
        "a budget counts the pods of all services",
        _AVAILABILITY,
        (
            (
                '      {{- include "tokenline.selector" $arguments | nindent 6 }}\n',
                "      app.kubernetes.io/name: tokenline\n",
            ),
        ),
        _OF_LIFECYCLE,
    ),
    Mutation(
        "an old pod goes first",
        _WORKLOADS,
        (("{maxSurge: 1, maxUnavailable: 0}", "{maxSurge: 0, maxUnavailable: 1}"),),
        _OF_LIFECYCLE,
    ),
    Mutation(
        "all pods are replaced at once",
        _WORKLOADS,
        (("    type: RollingUpdate\n    #", "    type: Recreate\n    #"),),
        _OF_LIFECYCLE,
    ),
    Mutation(
        "edges are updated by hand",
        _WORKLOADS,
        (("updateStrategy: {type: RollingUpdate}", "updateStrategy: {type: OnDelete}"),),
        _OF_LIFECYCLE,
    ),
    Mutation("a pod that ends at once counts as there", _WORKLOADS, (("  minReadySeconds: 5\n", ""),), _OF_LIFECYCLE),
    Mutation(
        "an outbox goes with the edge that is scaled away",
        _WORKLOADS,
        (("whenScaled: Retain", "whenScaled: Delete"),),
        _OF_LIFECYCLE,
    ),
    Mutation("CDR files go with the release", _WORKLOADS, (("whenDeleted: Retain", "whenDeleted: Delete"),), _OF_LIFECYCLE),
    Mutation(
        "volumes are ephemeral by default",
        _VALUES,
        (
            (
                '      kind: "claim"\n      # How large, in whole Gi or Ti.\n      size: "1Gi"',
                '      kind: "ephemeral"\n      # How large, in whole Gi or Ti.\n      size: "1Gi"',
            ),
        ),
        _OF_LIFECYCLE,
    ),
    Mutation(
        "one edge takes all calls by default",
        _VALUES,
        (
            (
                "  edge:\n    # How many pods, unless `autoscaling` says.\n    replicas: 2\n",
                "  edge:\n    # How many pods, unless `autoscaling` says.\n    replicas: 1\n",
            ),
        ),
        _OF_LIFECYCLE,
    ),
    Mutation(
        "an autoscaler takes pods away as it likes",
        _AVAILABILITY,
        (
            (
                "      policies: [{type: Pods, value: 1, periodSeconds: 60}]\n",
                "      policies: [{type: Percent, value: 100, periodSeconds: 15}]\n",
            ),
        ),
        _OF_LIFECYCLE,
    ),
    Mutation(
        "an autoscaler keeps fewer pods than it shall",
        _AVAILABILITY,
        (("  minReplicas: {{ .minReplicas }}\n", "  minReplicas: 1\n"),),
        _OF_LIFECYCLE,
    ),
    Mutation(
        "an upgrade goes on without its schemas",
        _JOBS,
        (('"helm.sh/hook" "pre-install,pre-upgrade,pre-rollback"', '"helm.sh/hook" "pre-install"'),),
        _OF_LIFECYCLE,
    ),
    Mutation(
        "schemas are brought up to date after the upgrade",
        _JOBS,
        (('"helm.sh/hook" "pre-install,pre-upgrade,pre-rollback"', '"helm.sh/hook" "post-install,post-upgrade,pre-rollback"'),),
        _OF_LIFECYCLE,
    ),
    Mutation(
        "the migration comes before its config",
        _JOBS,
        (('(dict "helm.sh/hook-weight" "0")', '(dict "helm.sh/hook-weight" "-20")'),),
        _OF_LIFECYCLE,
    ),
    Mutation(
        "what a failed migration said is gone",
        _JOBS,
        (('"before-hook-creation,hook-succeeded"', '"before-hook-creation,hook-succeeded,hook-failed"'),),
        _OF_LIFECYCLE,
    ),
    Mutation("a new era begins by itself", _JOBS, (("  suspend: true\n", "  suspend: false\n"),), _OF_LIFECYCLE),
)

_DOORS: Final = (
    Mutation(
        "the clients' way in leads to administration",
        _CLIENT_PATHS,
        (
            (
                "- {path: /v1/models, pathType: Prefix}\n",
                "- {path: /v1/models, pathType: Prefix}\n- {path: /v1/admin, pathType: Prefix}\n",
            ),
        ),
        _OF_DOORS,
    ),
    Mutation(
        "the clients' way in leads to everything",
        _INGRESS,
        (("          - path: {{ .path }}\n", "          - path: /\n"),),
        _OF_DOORS,
    ),
    Mutation("a way in is made unasked", _INGRESS, (("{{- if $ingress.enabled }}", "{{- if true }}"),), _OF_DOORS),
    Mutation(
        "the operators' way in leads to the clients' listener",
        _INGRESS,
        (("{service: {name: tokenline-admin, port: {name: admin}}}", "{service: {name: tokenline-edge, port: {name: http}}}"),),
        _OF_DOORS,
    ),
    Mutation(
        "the operators' way in leads to metrics",
        _INGRESS,
        (("          - path: /v1/admin\n", "          - path: /\n"),),
        _OF_DOORS,
    ),
    Mutation(
        "clients find the operators' listener at their Service",
        _SERVICES,
        (("      targetPort: http\n", "      targetPort: admin\n"),),
        _OF_DOORS,
    ),
    Mutation(
        "edges' metrics are not read",
        _MONITORING,
        (('{{- range list "metrics" "admin" }}', '{{- range list "metrics" }}'),),
        _OF_DOORS,
    ),
    Mutation(
        "a Service leads to pods of all services",
        _SERVICES,
        (
            (
                '    {{- include "tokenline.selector" (dict "root" $ "service" $name) | nindent 4 }}\n',
                "    app.kubernetes.io/name: tokenline\n    app.kubernetes.io/instance: {{ $.Release.Name | quote }}\n",
            ),
        ),
        _OF_DOORS,
    ),
    Mutation(
        "the edge is open to the outside by default",
        _VALUES,
        (('      type: "ClusterIP"\n', '      type: "LoadBalancer"\n'),),
        _OF_DOORS,
    ),
    Mutation(
        "a service calls where nobody listens",
        _HELPERS,
        (
            (
                '"cdr_folder" "/var/lib/tokenline/cdr" "accounting_address" $address.accounting',
                '"cdr_folder" "/var/lib/tokenline/cdr" "accounting_address" $address.registry',
            ),
        ),
        _OF_DOORS,
    ),
)

_CONFIGS: Final = (
    Mutation(
        "Releases stay in the memory of an edge",
        _HELPERS,
        ((' "outbox" "/var/lib/tokenline/outbox.sqlite3"', ""),),
        _OF_CONFIGURATION,
    ),
    Mutation(
        "CDR files are not on their volume",
        _HELPERS,
        (('"cdr_folder" "/var/lib/tokenline/cdr"', '"cdr_folder" "/tmp/cdr"'),),
        _OF_CONFIGURATION,
    ),
    Mutation(
        "cells share their keys in etcd",
        _HELPERS,
        (('(printf "/tokenline/%s/" .root.Release.Namespace)', '"/tokenline/"'),),
        _OF_CONFIGURATION,
    ),
    Mutation(
        "etcd is spoken to in the open where it has certificates",
        _HELPERS,
        ((' "certificate_file" "/etc/tokenline/etcd-tls/tls.crt" "key_file" "/etc/tokenline/etcd-tls/tls.key"', ""),),
        _OF_CONFIGURATION,
    ),
    Mutation(
        "the branch's offerings are not read",
        _HELPERS,
        (('{{- if $values.catalog }}{{ $folders = append $folders "/etc/tokenline/catalog" }}{{ end }}\n', ""),),
        _OF_CONFIGURATION,
    ),
    Mutation(
        "keys are of another region",
        _HELPERS,
        ((' "region" $values.cell.region', ' "region" "local"'),),
        _OF_CONFIGURATION,
    ),
)

_ALREADY_THERE: Final = (
    Mutation(
        "a Secret that is missing is found by pods", _CHECKS, (("{{- if not $secret }}", "{{- if false }}"),), _OF_ALREADY_THERE
    ),
    Mutation(
        "the hash key's Secret may be without its key",
        _CHECKS,
        (('$v.secrets.hashKey (list "key")', "$v.secrets.hashKey list"),),
        _OF_ALREADY_THERE,
    ),
    Mutation(
        "a release takes over another's cell",
        _CHECKS,
        (("{{- if ne $owner $.Release.Name }}", "{{- if false }}"),),
        _OF_ALREADY_THERE,
    ),
    Mutation(
        "a step towards TLS may be left out",
        _CHECKS,
        (("{{- if gt (max $from $to) (add1 (min $from $to)) }}", "{{- if false }}"),),
        _OF_ALREADY_THERE,
    ),
    Mutation("an outbox may become ephemeral", _CHECKS, (("{{- if ne $is $shall }}", "{{- if false }}"),), _OF_ALREADY_THERE),
    Mutation(
        "an upgrade leaves one pod until an autoscaler speaks",
        _HELPERS,
        (("{{- if not $spoken }}\nreplicas:", "{{- if false }}\nreplicas:"),),
        _OF_ALREADY_THERE,
    ),
)

_AROUND: Final = (
    Mutation(
        "a development cell's hash key is made anew with each upgrade",
        "infra/cluster.py",
        (('    if not kubectl("--namespace", namespace, "get", "secret", name, "--ignore-not-found"):\n', "    if True:\n"),),
        _OF_DEVELOPMENT,
    ),
    Mutation(
        "a cell that goes takes others' keys in etcd along",
        "infra/cluster.py",
        (('f"/tokenline/{namespace}/"', '"/tokenline/"'),),
        _OF_DEVELOPMENT,
    ),
    Mutation("the image runs as root", "Dockerfile", (("USER 10001:10001", "USER 0:0"),), _OF_DEVELOPMENT),
    Mutation(
        "the image is made of whatever packages are served",
        "Dockerfile",
        (("--require-hashes -r /src/requirements.lock", "-r /src/requirements.lock"),),
        _OF_DEVELOPMENT,
    ),
    Mutation(
        "development's database takes everybody",
        _STORES,
        (("--auth=scram-sha-256", "--auth=trust"),),
        _OF_DEVELOPMENT,
    ),
)

_GIVEN: Final = (
    Mutation(
        "the operators' listener is on the node's own address",
        _WORKLOADS,
        (("{name: admin, containerPort: 8081}", "{name: admin, containerPort: 8081, hostPort: 8081}"),),
        _OF_FIELDS,
    ),
    Mutation(
        "authentication starts without its hash key",
        _HELPERS,
        (("hashKey }}, defaultMode: 288}", "hashKey }}, defaultMode: 288, optional: true}"),),
        _OF_FIELDS,
    ),
    Mutation(
        "services are administrators of their namespace",
        _ACCOUNTS,
        (
            (
                "automountServiceAccountToken: false\n---\n",
                "automountServiceAccountToken: false\n---\napiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\n"
                "metadata: {name: tokenline-{{ $name }}, namespace: {{ $.Release.Namespace }}}\n"
                "roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: admin}\n"
                "subjects: [{kind: ServiceAccount, name: tokenline-{{ $name }}}]\n---\n",
            ),
        ),
        _OF_FIELDS,
    ),
    Mutation(
        "services serve without TLS until something else changes",
        _WORKLOADS,
        (
            (
                "{{- if not (hasKey ($service.config",
                '{{- $_ := unset $told "grpc_tls" }}\n        {{- if not (hasKey ($service.config',
            ),
        ),
        _OF_VALUES,
    ),
    Mutation(
        "on the way to TLS a service is reached by one port alone",
        _NETWORK,
        (
            (
                '        {{- range include "tokenline.grpcPorts" $ | fromYamlArray }}\n'
                "        - {port: {{ .name }}}\n        {{- end }}\n",
                '        - {port: {{ ternary "grpc-tls" "grpc" (eq $.Values.grpcTls.mode "required") }}}\n',
            ),
        ),
        _OF_NETWORK,
    ),
    Mutation(
        "accounts are always cut into 16 slices",
        _HELPERS,
        (('"partitions" $values.cell.partitions', '"partitions" 16'),),
        _OF_VALUES,
    ),
    Mutation(
        "the nightly proof has the admin token of the usual name",
        _BOOKS,
        (("{{ .Values.secrets.adminToken }}", "tokenline-admin-token"),),
        _OF_VALUES,
    ),
    Mutation(
        "the prefix of etcd that was given does not count",
        _HELPERS,
        (("$values.etcd.prefix | default", '"" | default'),),
        _OF_VALUES,
    ),
    Mutation(
        "further settings of billing do not count",
        _HELPERS,
        (
            (
                "{{- with index $values.services .service }}",
                '{{- with ternary dict (index $values.services .service) (eq .service "billing") }}',
            ),
        ),
        _OF_VALUES,
    ),
    Mutation(
        "policies of a release select the pods of another",
        _HELPERS,
        (("app.kubernetes.io/instance: {{ .root.Release.Name | quote }}", "app.kubernetes.io/instance: tokenline"),),
        _OF_VALUES,
    ),
)

CHART: Final = (*_CONNECTIONS, *_RIGHTS, *_LOOKS, *_ENDS, *_DOORS, *_CONFIGS, *_ALREADY_THERE, *_AROUND, *_GIVEN)
