{{/* The name of the objects: the release's name, followed by the chart's name unless the former contains it. */}}
{{- define "flower-push-job.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Labels of the objects of the job, or of another component: (dict "root" $ "name" "prometheus-pushgateway"). */}}
{{- define "flower-push-job.selectorLabels" -}}
app.kubernetes.io/name: {{ .name | default (default .root.Chart.Name .root.Values.nameOverride) }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- end -}}

{{/* Labels of a pod: those of its component, and more: (dict "root" $ "more" labels). */}}
{{- define "flower-push-job.podLabels" -}}
{{- $own := include "flower-push-job.selectorLabels" . | fromYaml -}}
{{- toYaml (merge $own (default dict .more) .root.Values.commonLabels) -}}
{{- end -}}

{{/*
Metadata of an object: (dict "root" $ "object" "name"), and where they differ from the job's: "name" of the component,
"namespace", "labels", "annotations".
*/}}
{{- define "flower-push-job.metadata" -}}
{{- $labels := include "flower-push-job.selectorLabels" . | fromYaml -}}
{{- $_ := set $labels "helm.sh/chart" (printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_") -}}
{{- $_ := set $labels "app.kubernetes.io/version" .root.Chart.AppVersion -}}
{{- $_ := set $labels "app.kubernetes.io/managed-by" .root.Release.Service -}}
name: {{ .object }}
{{- with .namespace | default .root.Values.namespaceOverride }}
namespace: {{ . }}
{{- end }}
labels:
  {{- toYaml (merge $labels (default dict .labels) .root.Values.commonLabels) | nindent 2 }}
{{- with .annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "flower-push-job.namespace" -}}
{{- default .Release.Namespace .Values.namespaceOverride -}}
{{- end -}}

{{- define "flower-push-job.pushgatewayName" -}}
{{- default (printf "%s-pushgateway" (include "flower-push-job.fullname" . | trunc 51 | trimSuffix "-")) .Values.pushgateway.name -}}
{{- end -}}

{{- define "flower-push-job.pushgatewayUrl" -}}
{{- $name := ternary (include "flower-push-job.pushgatewayName" .) "pushgateway" .Values.pushgateway.enabled -}}
{{- default (printf "http://%s:9091" $name) .Values.pushgateway.url -}}
{{- end -}}

{{- define "flower-push-job.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "flower-push-job.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* Name of an image: (dict "root" $ "image" values "tag" "the default tag"). A registry contains a dot or a colon. */}}
{{- define "flower-push-job.image" -}}
{{- $repository := .image.repository -}}
{{- with .root.Values.global.imageRegistry -}}
{{- $repository = printf "%s/%s" (trimSuffix "/" .) (regexReplaceAll "^[^/]*[.:][^/]*/" $repository "") -}}
{{- end -}}
{{- $repository -}}{{ if .image.digest }}@{{ .image.digest }}{{ else }}:{{ default .tag .image.tag }}{{ end -}}
{{- end -}}

{{/* The extras that are selected, or that rules and dashboards need, as a JSON list. */}}
{{- define "flower-push-job.extras" -}}
{{- $needed := list "queues" "runtimes" "waits" "ages" "failures" "last-run" "activity" "pools" "by-queue" -}}
{{- if kindIs "slice" .Values.with -}}
{{- toJson .Values.with -}}
{{- else -}}
{{- toJson (ternary $needed list (or .Values.rules.enabled .Values.dashboards.enabled)) -}}
{{- end -}}
{{- end -}}

{{/* The container: (dict "root" $ "args" ... "sharded" true). */}}
{{- define "flower-push-job.container" -}}
{{- $ := .root -}}
name: push-job
image: {{ include "flower-push-job.image" (dict "root" $ "image" $.Values.image "tag" $.Chart.AppVersion) }}
{{- with $.Values.image.pullPolicy }}
imagePullPolicy: {{ . }}
{{- end }}
args: {{ toJson .args }}
envFrom:
  - configMapRef:
      name: {{ include "flower-push-job.fullname" $ }}
  {{- with $.Values.extraEnvFrom }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
env:
  {{- if .sharded }}
  - name: JOB_COMPLETION_INDEX
    valueFrom:
      fieldRef:
        fieldPath: metadata.annotations['batch.kubernetes.io/job-completion-index']
  {{- end }}
  - name: POD_NAMESPACE
    valueFrom:
      fieldRef:
        fieldPath: metadata.namespace
  - name: PUSH_JOB_GROUPING
    value: namespace=$(POD_NAMESPACE){{ range $key, $value := $.Values.grouping }} {{ $key }}={{ $value }}{{ end }}
  {{- range $server, $auth := dict "FLOWER" $.Values.flower.auth "PUSHGATEWAY" $.Values.pushgateway.auth }}
  {{- if $auth.existingSecret }}
  {{- range $part, $key := dict "USERNAME" $auth.usernameKey "PASSWORD" $auth.passwordKey }}
  - name: PUSH_JOB_{{ $server }}_{{ $part }}
    valueFrom:
      secretKeyRef:
        name: {{ $auth.existingSecret }}
        key: {{ $key }}
  {{- end }}
  {{- end }}
  {{- end }}
  {{- with $.Values.extraEnv }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
securityContext:
  {{- toYaml $.Values.securityContext | nindent 2 }}
resources:
  {{- toYaml $.Values.resources | nindent 2 }}
{{- end -}}

{{- define "flower-push-job.volumeMounts" -}}
- name: credentials
  mountPath: /run/secrets/flower-push-job
  readOnly: true
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "flower-push-job.volumes" -}}
- name: credentials
  secret:
    secretName: {{ default (include "flower-push-job.fullname" .) .Values.existingSecret }}
    optional: true
    defaultMode: 0440
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* The state, which the pod of helm test does not mount. */}}
{{- define "flower-push-job.stateMount" -}}
{{- if .Values.state.enabled -}}
- name: state
  mountPath: /var/lib/push-job
{{- end -}}
{{- end -}}

{{- define "flower-push-job.stateVolume" -}}
{{- if .Values.state.enabled -}}
- name: state
  persistentVolumeClaim:
    claimName: {{ default (printf "%s-state" (include "flower-push-job.fullname" .)) .Values.state.existingClaim }}
{{- end -}}
{{- end -}}

{{- define "flower-push-job.pod" -}}
serviceAccountName: {{ include "flower-push-job.serviceAccountName" . }}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  {{- toYaml .Values.podSecurityContext | nindent 2 }}
{{- range $key := list "imagePullSecrets" "nodeSelector" "tolerations" "affinity" "topologySpreadConstraints" "priorityClassName" "hostAliases" "dnsConfig" "initContainers" }}
{{- with index $.Values $key }}
{{ $key }}:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- end -}}
