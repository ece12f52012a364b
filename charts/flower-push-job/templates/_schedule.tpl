{{/*
Seconds between two pushes: the longest time between two runs of a CronJob that runs in every hour of every day, otherwise
86400.
*/}}
{{- define "flower-push-job.interval" -}}
{{- if eq .Values.mode "loop" -}}
{{- .Values.loop.every -}}
{{- else -}}
{{- $fields := regexSplit " +" .Values.cronjob.schedule -1 -}}
{{- if and (eq (len $fields) 5) (eq (rest $fields | uniq | join "") "*") -}}
{{- mul 60 (include "flower-push-job.longestGap" (first $fields)) -}}
{{- else -}}
86400
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The longest time in minutes between two of the minutes that a field such as "5/10" or "0,10-50/20" selects. */}}
{{- define "flower-push-job.longestGap" -}}
{{- $minutes := dict -}}
{{- range splitList "," . -}}
{{- $parts := splitList "/" . -}}
{{- $range := ternary "0-59" (first $parts) (eq (first $parts) "*") | splitList "-" -}}
{{- /* "5/10" means "5-59/10" */ -}}
{{- $to := ternary "59" (last $range) (and (eq (len $range) 1) (eq (len $parts) 2)) -}}
{{- $step := ternary (last $parts) "1" (eq (len $parts) 2) -}}
{{- range untilStep (atoi (first $range)) (int (add 1 (atoi $to))) (atoi $step) -}}
{{- $_ := set $minutes (printf "%02d" .) . -}}
{{- end -}}
{{- end -}}
{{- $previous := sub (get $minutes (keys $minutes | sortAlpha | last)) 60 -}}
{{- $longest := 0 -}}
{{- range keys $minutes | sortAlpha -}}
{{- $longest = max $longest (sub (get $minutes .) $previous) -}}
{{- $previous = get $minutes . -}}
{{- end -}}
{{- $longest -}}
{{- end -}}
