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

{{- define "flower-push-job.selectorLabels" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* The labels that only Helm's objects have. */}}
{{- define "flower-push-job.helmLabels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- define "flower-push-job.labels" -}}
{{ include "flower-push-job.selectorLabels" . }}
{{ include "flower-push-job.helmLabels" . }}
{{- end -}}

{{- define "flower-push-job.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "flower-push-job.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "flower-push-job.image" -}}
{{- with .Values.image -}}
{{- .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ default $.Chart.AppVersion .tag }}{{ end -}}
{{- end -}}
{{- end -}}

{{/* Checks that involve two values, which the schema cannot express. */}}
{{- define "flower-push-job.check" -}}
{{- if and (eq .Values.mode "cronjob") (ge (float64 .Values.deadline) (float64 .Values.cronjob.activeDeadlineSeconds)) -}}
{{- fail (printf "deadline (%v) must be below cronjob.activeDeadlineSeconds (%v); otherwise Kubernetes ends the job before it can push flower_up 0" .Values.deadline .Values.cronjob.activeDeadlineSeconds) -}}
{{- end -}}
{{- if hasKey .Values.grouping "namespace" -}}
{{- fail "grouping.namespace: the chart sets this label itself, to the pods' namespace" -}}
{{- end -}}
{{- end -}}

{{/* The container: (dict "root" $ "args" ... "sharded" true). */}}
{{- define "flower-push-job.container" -}}
{{- $ := .root -}}
name: push-job
image: {{ include "flower-push-job.image" $ }}
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
{{- if .Values.state.enabled }}
- name: state
  mountPath: /var/lib/push-job
{{- end }}
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
{{- if .Values.state.enabled }}
- name: state
  persistentVolumeClaim:
    claimName: {{ default (printf "%s-state" (include "flower-push-job.fullname" .)) .Values.state.existingClaim }}
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "flower-push-job.podMetadata" -}}
labels:
  {{- include "flower-push-job.selectorLabels" . | nindent 2 }}
  {{- with .Values.podLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{- define "flower-push-job.pod" -}}
serviceAccountName: {{ include "flower-push-job.serviceAccountName" . }}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  {{- toYaml .Values.podSecurityContext | nindent 2 }}
{{- range $key := list "imagePullSecrets" "nodeSelector" "tolerations" "affinity" "topologySpreadConstraints" "priorityClassName" }}
{{- with index $.Values $key }}
{{ $key }}:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- end -}}
