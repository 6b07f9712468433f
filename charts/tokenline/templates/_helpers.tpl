{{/*
What every service is: its stores, who calls it (and so what network policies allow), and how it is run. Templates range over this.
The names are fixed: a namespace holds one cell.
*/}}
{{- define "tokenline.services" -}}
authentication: {callers: [edge], database: true}
registry: {callers: [edge, accounting], etcd: true}
accounting: {callers: [edge, billing, accounting], calls: [registry, accounting], database: true, etcd: true}
billing: {callers: [edge], calls: [accounting], database: true, volume: cdr}
edge: {calls: [authentication, registry, accounting, billing], volume: outbox}
{{- if .Values.vendorSimulator.enabled }}
vendor-simulator: {callers: [edge]}
{{- end }}
{{- end }}

{{- define "tokenline.labels" -}}
app.kubernetes.io/name: tokenline
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: tokenline
{{- end }}

{{/* Takes (dict "root" $ "service" NAME). */}}
{{- define "tokenline.selector" -}}
app.kubernetes.io/name: tokenline
app.kubernetes.io/instance: {{ .root.Release.Name | quote }}
app.kubernetes.io/component: {{ .service }}
{{- end }}

{{- define "tokenline.image" -}}
{{- with .Values.image }}
{{- if .digest }}{{ .repository }}@{{ .digest }}{{ else }}{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end }}
{{- end }}

{{/* What is said of every pod. */}}
{{- define "tokenline.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
{{- range . }}
  - name: {{ . }}
{{- end }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* What is said of every container. */}}
{{- define "tokenline.container" -}}
image: {{ include "tokenline.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
terminationMessagePolicy: FallbackToLogsOnError
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end }}

{{/* The database's user; takes the Secret's name. */}}
{{- define "tokenline.databaseEnvironment" -}}
- name: PGUSER
  valueFrom: {secretKeyRef: {name: {{ . }}, key: username}}
- name: PGPASSWORD
  valueFrom: {secretKeyRef: {name: {{ . }}, key: password}}
{{- end }}

{{/* The files of a service beside its config; takes (dict "root" $ "service" NAME "facts" FACTS). */}}
{{- define "tokenline.secretVolumes" -}}
{{- $values := .root.Values }}
{{- if eq .service "authentication" }}
- {name: hash-key, secret: {secretName: {{ $values.secrets.hashKey }}, defaultMode: 288}}
{{- end }}
{{- if include "tokenline.grpcTls" . }}
- {name: grpc-tls, secret: {secretName: tokenline-{{ .service }}-grpc, defaultMode: 288}}
{{- end }}
{{- if eq .service "edge" }}
- {name: admin-token, secret: {secretName: {{ $values.secrets.adminToken }}, defaultMode: 288}}
{{- if $values.secrets.vendors }}
- {name: vendors, secret: {secretName: {{ $values.secrets.vendors }}, defaultMode: 288}}
{{- end }}
{{- end }}
{{- if and (eq .service "billing") $values.carrier.address }}
- {name: carrier, secret: {secretName: {{ $values.carrier.keySecret }}, defaultMode: 288}}
{{- end }}
{{- if and .facts.database $values.postgresql.caSecret }}
- {name: postgresql, secret: {secretName: {{ $values.postgresql.caSecret }}, defaultMode: 288}}
{{- end }}
{{- if and .facts.etcd $values.etcd.tlsSecret }}
- {name: etcd-tls, secret: {secretName: {{ $values.etcd.tlsSecret }}, defaultMode: 288}}
{{- end }}
{{- if and .facts.etcd $values.etcd.passwordSecret }}
- {name: etcd-password, secret: {secretName: {{ $values.etcd.passwordSecret }}, defaultMode: 288}}
{{- end }}
{{- end }}

{{- define "tokenline.secretMounts" -}}
{{- range (include "tokenline.secretVolumes" . | fromYamlArray) }}
- {name: {{ .name }}, mountPath: /etc/tokenline/{{ .name }}, readOnly: true}
{{- end }}
{{- end }}

{{- define "tokenline.priorityClass" -}}
{{- if .root.Values.priorityClasses.create }}
priorityClassName: {{ .root.Release.Namespace }}-tokenline-{{ ternary "exporting" "serving" (eq .service "billing") }}
{{- end }}
{{- end }}

{{/* How many pods, unless an autoscaler says: what was said by Helm alone and is left out becomes 1, so while the autoscaler has not
     spoken yet, what is there stands. Takes (dict "root" $ "service" NAME "facts" FACTS). */}}
{{- define "tokenline.replicas" -}}
{{- $service := index .root.Values.services .service | default dict }}
{{- if not $service.autoscaling }}
replicas: {{ $service.replicas | default 1 }}
{{- else }}
{{- with lookup "apps/v1" (include "tokenline.kind" .facts) .root.Release.Namespace (printf "tokenline-%s" .service) }}
{{- $spoken := false }}
{{- range .metadata.managedFields }}
{{- if and (eq (.subresource | default "") "scale") (contains "f:replicas" (toJson .fieldsV1)) }}{{ $spoken = true }}{{ end }}
{{- end }}
{{- if not $spoken }}
replicas: {{ .spec.replicas }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* Takes the facts of a service. */}}
{{- define "tokenline.kind" -}}
{{ ternary "StatefulSet" "Deployment" (hasKey . "volume") }}
{{- end }}

{{/* Not empty where a service has a certificate; takes (dict "root" $ "service" NAME). */}}
{{- define "tokenline.grpcTls" -}}
{{- if and (ne .root.Values.grpcTls.mode "off") (has .service (list "authentication" "registry" "accounting" "billing" "edge")) }}yes{{ end }}
{{- end }}

{{/* Not empty where services call one another with TLS; takes the root. */}}
{{- define "tokenline.callsWithTls" -}}
{{- if or (eq .Values.grpcTls.mode "required") .Values.grpcTls.clients }}yes{{ end }}
{{- end }}

{{/* How far a cell is on its way to TLS, 0 to 3: neighbours reach one another while pods are replaced. Takes (list MODE CALLS-WITH-TLS). */}}
{{- define "tokenline.grpcStep" -}}
{{- if eq (index . 0) "both" }}{{ ternary 2 1 (index . 1) }}{{ else }}{{ ternary 3 0 (eq (index . 0) "required") }}{{ end }}
{{- end }}

{{/* Where a service is called: takes (dict "root" $ "service" NAME). */}}
{{- define "tokenline.address" -}}
{{- if include "tokenline.callsWithTls" .root }}tls:tokenline-{{ .service }}:7001{{ else }}tokenline-{{ .service }}:7000{{ end }}
{{- end }}

{{/* The ports of services that are called, as a list: 7000 without TLS, 7001 with it; takes the root. */}}
{{- define "tokenline.grpcPorts" -}}
{{- $mode := .Values.grpcTls.mode }}
{{- if ne $mode "required" }}
- {name: grpc, port: 7000}
{{- end }}
{{- if ne $mode "off" }}
- {name: grpc-tls, port: 7001}
{{- end }}
{{- end }}

{{/* The config file of a service, as JSON, which is YAML; takes (dict "root" $ "service" NAME). */}}
{{- define "tokenline.config" -}}
{{- $values := .root.Values }}
{{- $prefix := $values.etcd.prefix | default (printf "/tokenline/%s/" .root.Release.Namespace) }}
{{- $etcd := dict "endpoints" $values.etcd.endpoints }}
{{- if $values.etcd.tlsSecret }}
{{- $_ := merge $etcd (dict "ca_file" "/etc/tokenline/etcd-tls/ca.crt" "certificate_file" "/etc/tokenline/etcd-tls/tls.crt" "key_file" "/etc/tokenline/etcd-tls/tls.key") }}
{{- end }}
{{- if $values.etcd.username }}
{{- $_ := merge $etcd (dict "username" $values.etcd.username "password_file" "/etc/tokenline/etcd-password/password") }}
{{- end }}
{{- $address := dict }}
{{- range list "authentication" "registry" "accounting" "billing" }}{{ $_ := set $address . (include "tokenline.address" (dict "root" $.root "service" .)) }}{{ end }}
{{- $telemetry := dict "log_format" $values.telemetry.logFormat "log_level" $values.telemetry.logLevel "log_levels" $values.telemetry.logLevels "otlp_endpoint" $values.telemetry.otlpEndpoint "trace_sample_ppm" $values.telemetry.traceSamplePpm "trace_slow_ms" $values.telemetry.traceSlowMs }}
{{- /* An edge's metrics are on its listener for operators. */}}
{{- if ne .service "edge" }}{{ $_ := merge $telemetry (dict "metrics_port" 9000 "metrics_host" "0.0.0.0") }}{{ end }}
{{- $config := dict "telemetry" $telemetry }}
{{- if eq .service "authentication" }}
{{- $_ := merge $config (dict "listen_address" "0.0.0.0:7000" "postgresql" $values.postgresql.url "hash_key_file" "/etc/tokenline/hash-key/key" "region" $values.cell.region) }}
{{- else if eq .service "registry" }}
{{- $folders := list "/opt/tokenline/catalog" }}
{{- if $values.catalog }}{{ $folders = append $folders "/etc/tokenline/catalog" }}{{ end }}
{{- $_ := merge $config (dict "listen_address" "0.0.0.0:7000" "catalog_folders" $folders "etcd" $etcd "etcd_prefix" (printf "%scatalog/" $prefix)) }}
{{- else if eq .service "accounting" }}
{{- $_ := merge $config (dict "listen_address" "0.0.0.0:7000" "postgresql" ($values.postgresql.accountingUrls | default $values.postgresql.url) "partitions" $values.cell.partitions "registry_address" $address.registry "etcd" $etcd "etcd_prefix" (printf "%saccounting/" $prefix)) }}
{{- else if eq .service "billing" }}
{{- $_ := merge $config (dict "listen_address" "0.0.0.0:7000" "postgresql" $values.postgresql.url "cdr_folder" "/var/lib/tokenline/cdr" "accounting_address" $address.accounting) }}
{{- with $values.carrier }}
{{- if .address }}
{{- $carrier := dict "address" .address "token_url" .tokenUrl "client_id" .clientId "key_file" "/etc/tokenline/carrier/key.pem" "steps" .steps "usage_interval_s" (int .usageIntervalSeconds) }}
{{- if .keyId }}{{ $_ := set $carrier "key_id" .keyId }}{{ end }}
{{- $_ := set $config "carrier" $carrier }}
{{- end }}
{{- end }}
{{- else if eq .service "edge" }}
{{- $edge := $values.services.edge }}
{{- $_ := merge $config (dict "host" "0.0.0.0" "port" 8080 "admin_host" "0.0.0.0" "admin_port" 8081 "registry_address" $address.registry "authentication_address" $address.authentication "accounting_address" $address.accounting "billing_address" $address.billing "admin_token_file" "/etc/tokenline/admin-token/token" "outbox" "/var/lib/tokenline/outbox.sqlite3" "drain_notice_ms" (mul 1000 $edge.drainNoticeSeconds) "drain_timeout_ms" (mul 1000 $edge.drainSeconds)) }}
{{- /* Edges are replaced one after the other, so that there are never more. */}}
{{- if not (hasKey $edge.config "edges_max") }}
{{- $edges := $edge.replicas | default 1 }}
{{- with $edge.autoscaling }}{{ $edges = .maxReplicas }}{{ end }}
{{- $_ := set $config "edges_max" (int $edges) }}
{{- end }}
{{- if $values.secrets.vendors }}{{ $_ := set $config "vendor_secrets_folder" "/etc/tokenline/vendors" }}{{ end }}
{{- if $values.vendorSimulator.enabled }}{{ $_ := set $config "simulator_base_url" "http://tokenline-vendor-simulator:8090/v1" }}{{ end }}
{{- else if eq .service "vendor-simulator" }}
{{- $_ := merge $config (dict "host" "0.0.0.0" "port" 8090 "drain_notice_ms" 5000 "drain_timeout_ms" 45000) }}
{{- end }}
{{- $tls := include "tokenline.grpcTls" . }}
{{- if $tls }}
{{- $_ := merge $config (dict "grpc_certificate_file" "/etc/tokenline/grpc-tls/tls.crt" "grpc_key_file" "/etc/tokenline/grpc-tls/tls.key" "grpc_ca_file" "/etc/tokenline/grpc-tls/ca.crt") }}
{{- end }}
{{- if hasKey $config "listen_address" }}
{{- $_ := set $config "health_port" 7002 }}
{{- if $tls }}{{ $_ := merge $config (dict "grpc_tls" $values.grpcTls.mode "grpc_tls_port" 7001) }}{{ end }}
{{- end }}
{{- with index $values.services .service }}{{ $_ := merge $config .config }}{{ end }}
{{- toJson $config }}
{{- end }}
