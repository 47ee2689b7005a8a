{{- define "nalpaca.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" -}}
{{- end }}

{{- define "nalpaca.fullname" -}}
{{- $name := include "nalpaca.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end }}

{{- define "nalpaca.selector" -}}
app.kubernetes.io/name: {{ include "nalpaca.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "nalpaca.labels" -}}
{{ include "nalpaca.selector" . }}
app.kubernetes.io/version: {{ .Values.image.tag | default .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "nalpaca.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (ternary (include "nalpaca.fullname" .) "default" .Values.serviceAccount.create) -}}
{{- end }}

{{- define "nalpaca.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}
{{- end }}

{{- define "nalpaca.hasMetrics" -}}
{{- if kindIs "bool" .Values.metrics.enabled -}}
{{- ternary "true" "" .Values.metrics.enabled -}}
{{- else -}}
{{- ternary "" "true" .Values.metrics.disabled -}}
{{- end -}}
{{- end }}

{{/* Where probes ask that cannot ask over HTTP. */}}
{{- define "nalpaca.healthPort" -}}
{{- .Values.env.HEALTH_PORT | default "7654" -}}
{{- end }}

{{/* A configuration of JetStream's, given as an object or as its text, as JSON. */}}
{{- define "nalpaca.jetstream" -}}
{{- if kindIs "string" . -}}
{{- if . -}}
{{- $read := fromJson . -}}
{{- if $read.Error -}}
{{- fail (printf "a JetStream configuration in the values is no JSON: %s" $read.Error) -}}
{{- end -}}
{{- $read | toJson -}}
{{- else -}}
{}
{{- end -}}
{{- else -}}
{{- . | default dict | toJson -}}
{{- end -}}
{{- end }}

{{/* What would lose money, or cannot work, is refused with a sentence. */}}
{{- define "nalpaca.refusals" -}}
{{- if not .Values.secrets.name -}}
{{- fail "secrets.name must name an existing secret with ALPACA_API_KEY and ALPACA_API_SECRET" -}}
{{- end -}}
{{- if .Values.alpaca.oauth -}}
{{- fail "alpaca.oauth would put a secret into the values: put the token into the secret, and name its key in secrets.keys.oauth" -}}
{{- end -}}
{{- if and .Values.nack.enabled (not (has .Values.nats.provision (list "" "verify"))) -}}
{{- fail "nack.enabled and nats.provision: NACK puts back what the daemon edits; leave nats.provision empty" -}}
{{- end -}}
{{- if .Values.autoscaling.enabled -}}
{{- fail "autoscaling.enabled: one daemon trades, whatever the load; replicaCount 2 makes another one stand by" -}}
{{- end -}}
{{- $action := include "nalpaca.jetstream" .Values.nats.initJob.actionStream | fromJson -}}
{{- if and (eq (toString $action.discard) "old") (or (gt (int64 $action.max_msgs) 0) (gt (int64 $action.max_bytes) 0) (gt (int64 $action.max_msgs_per_subject) 0) (gt (int64 $action.max_age) 0)) -}}
{{- fail "nats.initJob.actionStream drops the oldest commands when it is full (discard: old with a limit): an acknowledged order would vanish without a word. Use discard: new" -}}
{{- end -}}
{{- if eq (toString $action.storage) "memory" -}}
{{- fail "nats.initJob.actionStream keeps commands in memory: a restart of NATS would lose acknowledged orders. Use storage: file" -}}
{{- end -}}
{{- $taken := list "ALPACA_API_KEY" "ALPACA_API_SECRET" "ALPACA_OAUTH" "APCA_API_KEY_ID" "APCA_API_SECRET_KEY" "NATS_PASSWORD" "NATS_TOKEN" "NATS_SEED" "METRICS_HOST" "METRICS_PORT" "INSTANCE" -}}
{{- range $name, $_ := .Values.env -}}
{{- if has $name $taken -}}
{{- fail (printf "env.%s: the chart sets it, or it belongs into the secret" $name) -}}
{{- end -}}
{{- end -}}
{{- end }}

{{/* Settings that have a value of their own, by the program's names; what is empty is left to the program. */}}
{{- define "nalpaca.settings" -}}
{{- $v := .Values -}}
{{- $action := include "nalpaca.jetstream" $v.nats.initJob.actionStream | fromJson -}}
{{- $data := include "nalpaca.jetstream" $v.nats.initJob.dataStream | fromJson -}}
{{- $orders := include "nalpaca.jetstream" $v.orders.consumerConfig | fromJson -}}
{{- $cancel := include "nalpaca.jetstream" $v.cancel.consumerConfig | fromJson -}}
{{- $updates := include "nalpaca.jetstream" $v.tradeupdater.consumerConfig | fromJson -}}
{{- $stream := $v.stockstream -}}
{{- $all := dict
  "PREFIX" $v.conf.prefix
  "PROCESSING_TIMEOUT" $v.conf.processingTimeout
  "SHUTDOWN_TIMEOUT" $v.conf.shutdownTimeout
  "ACTION_STREAM" $action.name
  "DATA_STREAM" $data.name
  "ORDER_CONSUMER" ($orders.durable_name | default $orders.name)
  "CANCEL_CONSUMER" ($cancel.durable_name | default $cancel.name)
  "TRADE_UPDATE_CONSUMER" ($updates.durable_name | default $updates.name)
  "NATS_URL" $v.nats.url
  "NATS_USER" $v.nats.user
  "NATS_USE_COMPRESSION" $v.nats.useCompression
  "NATS_KV_BUCKET" $v.nats.kvBucket
  "STREAM_REPLICAS" $v.nats.streamReplicas
  "PROVISION" (ternary "verify" $v.nats.provision $v.nack.enabled)
  "NATS_INBOX_PREFIX" $v.nats.inboxPrefix
  "ALPACA_URL" $v.alpaca.url
  "ALPACA_ACCOUNT" $v.alpaca.account
  "ALPACA_RETRY_LIMIT" $v.alpaca.retryLimit
  "ALPACA_RETRY_DELAY" $v.alpaca.retryDelay
  "RATE_LIMIT_PER_MINUTE" $v.alpaca.rateLimitPerMinute
  "ENABLE_ORDERS" $v.orders.enabled
  "ORDER_MAX_AGE" $v.orders.maxAge
  "ORDERS_MAX_IN_FLIGHT" $v.orders.maxInFlight
  "BLIND_POLICY" $v.orders.blindPolicy
  "ENABLE_CANCELER" $v.cancel.enabled
  "ENABLE_TRADE_UPDATER" $v.tradeupdater.enabled
  "LOG_LEVEL" $v.logging.level
  "LOG_FMT" $v.logging.fmt
  "LOG_SRC" $v.logging.src
-}}
{{- if $stream.enabled -}}
{{- $all = merge $all (dict
  "ENABLE_STOCK_STREAM" $stream.enabled
  "STOCK_STREAM_SYMBOLS" $stream.initialSymbols
  "STOCK_STREAM_FEED_TYPE" $stream.wsOpts.feed
  "STOCK_STREAM_BASE_URL" $stream.wsOpts.baseURL
  "STOCK_STREAM_PROCESSORS" $stream.wsOpts.processors
  "STOCK_STREAM_BUFFER_SIZE" $stream.wsOpts.buffer
  "STOCK_STREAM_RECONNECT_LIMIT" $stream.wsOpts.reconnectLimit
  "STOCK_STREAM_RECONNECT_DELAY" $stream.wsOpts.reconnectDelay)
-}}
{{- end -}}
{{- if not $v.tracing.disabled -}}
{{- $all = merge $all (dict
  "DISABLE_TRACING" false
  "TRACE_EXPORTER" $v.tracing.exporter
  "TRACE_EXPORTER_URL" $v.tracing.exportURL
  "TRACE_EXPORTER_TIMEOUT" $v.tracing.timeout)
-}}
{{- end -}}
{{- if include "nalpaca.hasMetrics" . -}}
{{- $all = merge $all (dict
  "METRICS_WRITE_TIMEOUT" $v.metrics.writeTimeout
  "METRICS_ERR_POLICY" $v.metrics.errPolicy
  "METRICS_MAX_REQ_IN_FLIGHT" $v.metrics.maxReqInFlight
  "DISABLE_HEALTH" true)
-}}
{{- else -}}
{{- $all = merge $all (dict "DISABLE_METRICS" true) -}}
{{- end -}}
{{- if $v.nats.creds.secretName -}}
{{- $all = merge $all (dict "NATS_CREDS" "/etc/nalpaca/creds/nats.creds") -}}
{{- end -}}
{{- if $v.nats.nkey.secretName -}}
{{- $all = merge $all (dict "NATS_NKEY" "/etc/nalpaca/nkey/nkey.seed") -}}
{{- end -}}
{{- if $v.nats.tls.secretName -}}
{{- if $v.nats.tls.ca -}}{{- $all = merge $all (dict "NATS_CA" "/etc/nalpaca/tls/ca.crt") -}}{{- end -}}
{{- if $v.nats.tls.cert -}}{{- $all = merge $all (dict "NATS_CERT" "/etc/nalpaca/tls/tls.crt" "NATS_KEY" "/etc/nalpaca/tls/tls.key") -}}{{- end -}}
{{- end -}}
{{- if $v.limits -}}
{{- $all = merge $all (dict "LIMITS_FILE" "/etc/nalpaca/limits/limits.toml") -}}
{{- end -}}
{{- $settings := dict -}}
{{- range $name, $value := $all -}}
{{- if and (not (kindIs "invalid" $value)) (ne (toString $value) "") -}}
{{- $_ := set $settings $name (ternary (printf "%d" (int64 $value)) (toString $value) (kindIs "float64" $value)) -}}
{{- end -}}
{{- end -}}
{{- mergeOverwrite $settings $v.env | toJson -}}
{{- end }}

{{/* The environment of a daemon. */}}
{{- define "nalpaca.env" -}}
{{- range $name, $value := include "nalpaca.settings" . | fromJson }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
# Its name in the lease and the state. A pod's name is never that of another process.
- name: INSTANCE
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
# The probes come from outside the pod.
- name: METRICS_HOST
  value: "0.0.0.0"
{{- if include "nalpaca.hasMetrics" . }}
- name: METRICS_PORT
  value: {{ int .Values.metrics.port | quote }}
{{- end }}
{{- if and .Values.alpaca.apiKey (not .Values.secrets.keys.oauth) }}
- name: ALPACA_API_KEY
  value: {{ .Values.alpaca.apiKey | quote }}
{{- end }}
# Files, which the daemon reads again when the secret changes.
{{- range $variable, $_ := include "nalpaca.secrets" . | fromJson }}
- name: {{ $variable }}_FILE
  value: /etc/nalpaca/secrets/{{ $variable }}
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Keys of the secret by the variable they are for. */}}
{{- define "nalpaca.secrets" -}}
{{- $keys := .Values.secrets.keys -}}
{{- $secrets := dict -}}
{{- if $keys.oauth -}}
{{- $_ := set $secrets "ALPACA_OAUTH" $keys.oauth -}}
{{- else -}}
{{- $_ := set $secrets "ALPACA_API_SECRET" $keys.apiSecret -}}
{{- if not .Values.alpaca.apiKey -}}
{{- $_ := set $secrets "ALPACA_API_KEY" $keys.apiKey -}}
{{- end -}}
{{- end -}}
{{- if $keys.natsToken -}}
{{- $_ := set $secrets "NATS_TOKEN" $keys.natsToken -}}
{{- else if .Values.nats.user -}}
{{- $_ := set $secrets "NATS_PASSWORD" $keys.natsPassword -}}
{{- end -}}
{{- $secrets | toJson -}}
{{- end }}

{{- define "nalpaca.limitsName" -}}
{{ printf "%s-limits" (include "nalpaca.fullname" . | trunc 56 | trimSuffix "-") }}
{{- end }}

{{- define "nalpaca.volumes" -}}
- name: secrets
  secret:
    secretName: {{ .Values.secrets.name }}
    items:
      {{- range $variable, $key := include "nalpaca.secrets" . | fromJson }}
      - { key: {{ $key }}, path: {{ $variable }} }
      {{- end }}
{{- with .Values.nats.creds }}
{{- if .secretName }}
- name: nats-creds
  secret:
    secretName: {{ .secretName }}
    items: [{ key: {{ .key }}, path: nats.creds }]
{{- end }}
{{- end }}
{{- with .Values.nats.nkey }}
{{- if .secretName }}
- name: nats-nkey
  secret:
    secretName: {{ .secretName }}
    items: [{ key: {{ .key }}, path: nkey.seed }]
{{- end }}
{{- end }}
{{- with .Values.nats.tls }}
{{- if .secretName }}
- name: nats-tls
  secret:
    secretName: {{ .secretName }}
    items:
      {{- if .ca }}
      - { key: {{ .ca }}, path: ca.crt }
      {{- end }}
      {{- if .cert }}
      - { key: {{ .cert }}, path: tls.crt }
      - { key: {{ .key }}, path: tls.key }
      {{- end }}
{{- end }}
{{- end }}
{{- if .Values.limits }}
- name: limits
  configMap:
    name: {{ include "nalpaca.limitsName" . }}
    items: [{ key: limits.toml, path: limits.toml }]
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "nalpaca.mounts" -}}
- { name: secrets, mountPath: /etc/nalpaca/secrets, readOnly: true }
{{- if .Values.nats.creds.secretName }}
- { name: nats-creds, mountPath: /etc/nalpaca/creds, readOnly: true }
{{- end }}
{{- if .Values.nats.nkey.secretName }}
- { name: nats-nkey, mountPath: /etc/nalpaca/nkey, readOnly: true }
{{- end }}
{{- if .Values.nats.tls.secretName }}
- { name: nats-tls, mountPath: /etc/nalpaca/tls, readOnly: true }
{{- end }}
{{- if .Values.limits }}
- { name: limits, mountPath: /etc/nalpaca/limits, readOnly: true }
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Seconds the pod has to end: what the daemon may take, and 15 more. */}}
{{- define "nalpaca.grace" -}}
{{- $span := index (include "nalpaca.settings" . | fromJson) "SHUTDOWN_TIMEOUT" | default "30s" -}}
{{- if not (regexMatch "^([0-9]+m)?([0-9]+s)?$" $span) -}}
{{- fail (printf "conf.shutdownTimeout: %q is not minutes and seconds, as in 1m30s" $span) -}}
{{- end -}}
{{- $minutes := regexFind "[0-9]+m" $span | trimSuffix "m" | int -}}
{{- $seconds := regexFind "[0-9]+s" $span | trimSuffix "s" | int -}}
{{- add (mul $minutes 60) $seconds 15 -}}
{{- end }}
