{{/*
Replace a limit in a rule's expression: (dict "expr" ... "from" ... "to" ... "name" ...). Fail if the expression does not
contain "from", because the value would have no effect.
*/}}
{{- define "flower-push-job.threshold" -}}
{{- if not (contains .from .expr) -}}
{{- fail (printf "rules.%s: no %q in %s" .name .from .expr) -}}
{{- end -}}
{{- replace .from .to .expr -}}
{{- end -}}

{{/* The rule groups of rules/*.yml with the limits, durations, severities and labels of the values, as YAML. */}}
{{- define "flower-push-job.ruleGroups" -}}
{{- $set := .Values.rules -}}
{{- $known := dict -}}
{{- $thresholds := list
  (dict "name" "failureMinimum" "alert" "CeleryFailureRatioHigh" "from" ">= 20)" "to" (printf ">= %v)" $set.failureMinimum))
  (dict "name" "failureRatio" "alert" "CeleryFailureRatioHigh" "from" ") > 0.1" "to" (printf ") > %v" $set.failureRatio))
  (dict "name" "failureIgnore" "alert" "CeleryFailureRatioHigh" "from" "!~\"\"" "to" (printf "!~%s" (quote $set.failureIgnore)))
  (dict "name" "failureIgnore" "alert" "CeleryTypeFailing" "from" "!~\"\"" "to" (printf "!~%s" (quote $set.failureIgnore)))
  (dict "name" "waitSeconds" "alert" "CeleryTasksWaitTooLong" "from" ") > 300" "to" (printf ") > %v" $set.waitSeconds))
  (dict "name" "stuckSeconds" "alert" "CeleryTaskStuck" "from" ") > 3600" "to" (printf ") > %v" $set.stuckSeconds))
  (dict "name" "overdueIntervals" "alert" "CeleryPeriodicTaskOverdue" "from" "> 3 * (" "to" (printf "> %v * (" $set.overdueIntervals))
  (dict "name" "shortestInterval" "alert" "CeleryPeriodicTaskOverdue" "from" ">= 50)" "to" (printf ">= %v)" $set.shortestInterval))
  (dict "name" "busyRatio" "alert" "CeleryWorkersFull" "from" "[15m]) >= 0.95" "to" (printf "[15m]) >= %v" $set.busyRatio))
  (dict "name" "newFailures" "alert" "CeleryNewException" "from" ") >= 1 " "to" (printf ") >= %v " $set.newFailures))
  (dict "name" "steadyRatio" "alert" "FlowerUnsteady" "from" "[30m]) < 0.8" "to" (printf "[30m]) < %v" $set.steadyRatio))
-}}
{{- $groups := list -}}
{{- range $path, $_ := .Files.Glob "rules/*.yml" -}}
{{- range $group := ($.Files.Get $path | fromYaml).groups -}}
{{- $rules := list -}}
{{- range $rule := $group.rules -}}
{{- $expr := $rule.expr | replace "push_time_seconds < 300" (printf "push_time_seconds < %v" $set.age) | replace "push_time_seconds > 300" (printf "push_time_seconds > %v" $set.age) -}}
{{- if $rule.alert -}}
{{- $_ := set $known $rule.alert true -}}
{{- range $thresholds -}}
{{- if eq .alert $rule.alert -}}
{{- $expr = include "flower-push-job.threshold" (set . "expr" $expr) -}}
{{- end -}}
{{- end -}}
{{- $labels := merge (dict "severity" (default $rule.labels.severity (get $set.severity $rule.alert))) $set.alertLabels $rule.labels -}}
{{- $annotations := $rule.annotations -}}
{{- if $set.runbookUrl -}}
{{- $annotations = merge (dict "runbook_url" (replace "docs/alerts.md" $set.runbookUrl $annotations.runbook_url)) $annotations -}}
{{- end -}}
{{- $rule = merge (dict "for" (default (get $rule "for") (get $set.for $rule.alert)) "labels" $labels "annotations" $annotations) (omit $rule "annotations") -}}
{{- end -}}
{{- if not (has $rule.alert $set.disabled) -}}
{{- $rules = append $rules (merge (dict "expr" $expr) $rule) -}}
{{- end -}}
{{- end -}}
{{- $groups = append $groups (dict "name" $group.name "rules" $rules) -}}
{{- end -}}
{{- end -}}
{{- range $value := list "for" "severity" "disabled" -}}
{{- $names := get $set $value -}}
{{- range $name := (kindIs "map" $names | ternary (keys (kindIs "map" $names | ternary $names dict)) $names) -}}
{{- if not (hasKey $known $name) -}}
{{- fail (printf "rules.%s: there is no alert %q; there are %s" $value $name (keys $known | sortAlpha | join ", ")) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- toYaml $groups -}}
{{- end -}}
