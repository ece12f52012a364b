{{/* Checks that the schema cannot express, or for which it has no clear message. Each fails with one line. */}}
{{- define "flower-push-job.check" -}}
{{- if not .Values.enabled -}}
{{- fail "enabled: false has an effect only with \"condition: flower-push-job.enabled\" in the chart that depends on this one" -}}
{{- end -}}
{{- if and (eq .Values.mode "cronjob") (ge (float64 .Values.deadline) (float64 .Values.cronjob.activeDeadlineSeconds)) -}}
{{- fail (printf "deadline (%v) must be below cronjob.activeDeadlineSeconds (%v); otherwise Kubernetes ends the job before it can push flower_up 0" .Values.deadline .Values.cronjob.activeDeadlineSeconds) -}}
{{- end -}}
{{- if hasKey .Values.grouping "namespace" -}}
{{- fail "grouping.namespace: the chart sets this label itself, to the pods' namespace" -}}
{{- end -}}
{{- include "flower-push-job.checkFields" .Values.cronjob.schedule -}}
{{- include "flower-push-job.checkSignIn" . -}}
{{- if and .Values.state.enabled (hasKey .Values.settings "PUSH_JOB_STATE_FILE") -}}
{{- fail "settings.PUSH_JOB_STATE_FILE: state.enabled sets it too; use one of them" -}}
{{- end -}}
{{- if and .Values.serviceMonitor.enabled (not .Values.pushgateway.enabled) (not .Values.serviceMonitor.selector) -}}
{{- fail "serviceMonitor.selector: set the labels of your Pushgateway's Service, or pushgateway.enabled=true for one in this release" -}}
{{- end -}}
{{- end -}}

{{/* Check each field of a schedule; the schema has checked that there are five, or that it begins with @. */}}
{{- define "flower-push-job.checkFields" -}}
{{- $kinds := list
  (dict "name" "minute" "value" "[0-5]?[0-9]")
  (dict "name" "hour" "value" "([01]?[0-9]|2[0-3])")
  (dict "name" "day of the month" "value" "(0?[1-9]|[12][0-9]|3[01])")
  (dict "name" "month" "value" "(0?[1-9]|1[0-2]|[A-Za-z]{3})")
  (dict "name" "day of the week" "value" "([0-7]|[A-Za-z]{3})")
-}}
{{- if not (hasPrefix "@" .) -}}
{{- range $index, $field := regexSplit " +" . -1 -}}
{{- $kind := index $kinds $index -}}
{{- $item := printf "([*]|%s(-%s)?)(/[1-9][0-9]?)?" $kind.value $kind.value -}}
{{- if not (regexMatch (printf "^%s(,%s)*$" $item $item) $field) -}}
{{- fail (printf "cronjob.schedule: %q is not a %s" $field $kind.name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "flower-push-job.checkSignIn" -}}
{{- range $name, $urls := dict "flowers" .Values.flowers "pushgateway.url" (list .Values.pushgateway.url) -}}
{{- range $urls -}}
{{- if contains "@" (trimPrefix "@" .) -}}
{{- fail (printf "%s: a URL contains a user name or password, which everybody could read in the ConfigMap; put them into a Secret and set %s.auth.existingSecret" $name (ternary "flower" "pushgateway" (eq $name "flowers"))) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $variables := list -}}
{{- range .Values.extraEnv -}}
{{- $variables = append $variables .name -}}
{{- end -}}
{{- range $server, $auth := dict "FLOWER" .Values.flower.auth "PUSHGATEWAY" .Values.pushgateway.auth -}}
{{- /* The options of a server are its URL, its TLS files, and those of its sign-in methods. */ -}}
{{- $tls := printf "^PUSH_JOB_%s_(CA|CERT|KEY)_FILE$" $server -}}
{{- $own := printf "^PUSH_JOB_%s_" $server -}}
{{- range $where, $names := dict "settings" (keys $.Values.settings) "extraEnv" $variables -}}
{{- range $names -}}
{{- if and $auth.existingSecret (regexMatch $own .) (not (regexMatch $tls .)) -}}
{{- fail (printf "%s: %s: %s.auth.existingSecret is set too; use one of them" $where . (lower $server)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "flower-push-job.checkSchedule" -}}
{{- $interval := include "flower-push-job.interval" . | int -}}
{{- $set := ternary "loop.every" "cronjob.schedule" (eq .Values.mode "loop") -}}
{{- if gt $interval 900 -}}
{{- fail (printf "%s: the alerts need a push every 15 minutes; push more often, or set rules.enabled=false" $set) -}}
{{- end -}}
{{- with .Values.rules.age -}}
{{- if le (float64 .) (float64 (mul 2 $interval)) -}}
{{- fail (printf "rules.age (%v) must be more than twice the interval of pushes (%d s by %s), or null" . $interval $set) -}}
{{- end -}}
{{- end -}}
{{- end -}}
