{{/*
A dashboard: (dict "root" $ "path" "dashboards/x.json"). Of the choices of the variable max_age, the first one is selected that is
at least as long as the rules' limit.
*/}}
{{- define "flower-push-job.dashboard" -}}
{{- $age := include "flower-push-job.age" .root | float64 -}}
{{- $text := .root.Files.Get .path -}}
{{- if le $age 300.0 -}}
{{- $text -}}
{{- else -}}
{{- $board := fromJson $text -}}
{{- range $variable := $board.templating.list -}}
{{- if eq $variable.name "max_age" -}}
{{- $found := false -}}
{{- range $option := $variable.options -}}
{{- $_ := set $option "selected" (and (not $found) (ge (float64 $option.value) $age)) -}}
{{- if $option.selected -}}
{{- $found = true -}}
{{- $_ := set $variable "current" $option -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- toPrettyJson $board -}}
{{- end -}}
{{- end -}}
