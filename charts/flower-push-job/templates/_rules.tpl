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

{{/* Seconds after which a push counts as old. */}}
{{- define "flower-push-job.age" -}}
{{- if .Values.rules.age -}}
{{- .Values.rules.age -}}
{{- else -}}
{{- max 300 (mul 3 (include "flower-push-job.interval" . | int)) -}}
{{- end -}}
{{- end -}}

{{/*
An expression or a text with longer ranges: (dict "text" ... "interval" seconds). The ranges of the files contain enough pushes
up to an interval of five minutes.
*/}}
{{- define "flower-push-job.ranges" -}}
{{- if le .interval 300 -}}
{{- .text -}}
{{- else -}}
{{- $short := div (mul 2 .interval) 60 -}}
{{- $long := div (mul 6 .interval) 60 -}}
{{- $text := .text | replace "[30m]" (printf "[%dm]" $long) | replace "last 30 minutes" (printf "last %d minutes" $long) -}}
{{- $text | replace "[10m]" (printf "[%dm]" $short) | replace "offset 10m" (printf "offset %dm" $short) | replace "in 10 minutes" (printf "in %d minutes" $short) -}}
{{- end -}}
{{- end -}}

{{/* Arguments of "threshold" that leave out task types: (dict "name" "rules.x" "failures" regex "all" regex). */}}
{{- define "flower-push-job.ignored" -}}
{{- $failures := compact (list .all .failures) | join "|" -}}
{{- $list := list
  (dict "name" "failureIgnore" "alert" "CeleryFailureRatioHigh" "from" "!~\"\"" "to" (printf "!~%s" (quote $failures)))
  (dict "name" "failureIgnore" "alert" "CeleryTypeFailing" "from" "!~\"\"" "to" (printf "!~%s" (quote $failures)))
-}}
{{- if .all -}}
{{- $matcher := printf "name!~%s" (quote .all) -}}
{{- $list = concat $list (list
  (dict "name" "ignoredTasks" "alert" "CeleryTasksWaitTooLong" "from" "celery_task_duration_seconds_by_state{" "to" (printf "celery_task_duration_seconds_by_state{%s, " $matcher))
  (dict "name" "ignoredTasks" "alert" "CeleryTaskStuck" "from" "celery_task_oldest_seconds{" "to" (printf "celery_task_oldest_seconds{%s, " $matcher))
  (dict "name" "ignoredTasks" "alert" "CeleryPeriodicTaskOverdue" "from" "celery_task_last_success_timestamp_seconds" "to" (printf "celery_task_last_success_timestamp_seconds{%s}" $matcher))
  (dict "name" "ignoredTasks" "alert" "CeleryNewException" "from" "celery_task_failures{exception" "to" (printf "celery_task_failures{%s, exception" $matcher))
) -}}
{{- end -}}
{{- dict "list" $list | toJson -}}
{{- end -}}

{{/* The rule groups of rules/*.yml with the limits, durations, severities and labels of the values, as YAML. */}}
{{- define "flower-push-job.ruleGroups" -}}
{{- include "flower-push-job.checkSchedule" . -}}
{{- $set := .Values.rules -}}
{{- $age := include "flower-push-job.age" . -}}
{{- $interval := include "flower-push-job.interval" . | int -}}
{{- $ignored := include "flower-push-job.ignored" (dict "all" (join "|" $set.ignoredTasks) "failures" $set.failureIgnore) | fromJson -}}
{{- $known := dict -}}
{{- $thresholds := list
  (dict "name" "failureMinimum" "alert" "CeleryFailureRatioHigh" "from" ">= 20)" "to" (printf ">= %v)" $set.failureMinimum))
  (dict "name" "failureRatio" "alert" "CeleryFailureRatioHigh" "from" ") > 0.1" "to" (printf ") > %v" $set.failureRatio))
  (dict "name" "waitSeconds" "alert" "CeleryTasksWaitTooLong" "from" ") > 300" "to" (printf ") > %v" $set.waitSeconds))
  (dict "name" "stuckSeconds" "alert" "CeleryTaskStuck" "from" ") > 3600" "to" (printf ") > %v" $set.stuckSeconds))
  (dict "name" "overdueIntervals" "alert" "CeleryPeriodicTaskOverdue" "from" "> 3 * (" "to" (printf "> %v * (" $set.overdueIntervals))
  (dict "name" "shortestInterval" "alert" "CeleryPeriodicTaskOverdue" "from" ">= 50)" "to" (printf ">= %v)" $set.shortestInterval))
  (dict "name" "busyRatio" "alert" "CeleryWorkersFull" "from" "[15m]) >= 0.95" "to" (printf "[15m]) >= %v" $set.busyRatio))
  (dict "name" "newFailures" "alert" "CeleryNewException" "from" ") >= 1 " "to" (printf ") >= %v " $set.newFailures))
  (dict "name" "steadyRatio" "alert" "FlowerUnsteady" "from" "[30m]) < 0.8" "to" (printf "[30m]) < %v" $set.steadyRatio))
  (dict "name" "failureBudget" "alert" "CeleryErrorBudgetBurnsFast" "from" "* 0.01" "to" (printf "* %v" $set.failureBudget))
  (dict "name" "failureBudget" "alert" "CeleryErrorBudgetBurns" "from" "* 0.01" "to" (printf "* %v" $set.failureBudget))
-}}
{{- $thresholds = concat $thresholds $ignored.list -}}
{{- $groups := list -}}
{{- range $path, $_ := .Files.Glob "rules/*.yml" -}}
{{- range $group := ($.Files.Get $path | fromYaml).groups -}}
{{- $rules := list -}}
{{- range $rule := $group.rules -}}
{{- $expr := $rule.expr | replace "push_time_seconds < 300" (printf "push_time_seconds < %s" $age) | replace "push_time_seconds > 300" (printf "push_time_seconds > %s" $age) -}}
{{- if $rule.alert -}}
{{- $_ := set $known $rule.alert true -}}
{{- range $thresholds -}}
{{- if eq .alert $rule.alert -}}
{{- $expr = include "flower-push-job.threshold" (set . "expr" $expr) -}}
{{- end -}}
{{- end -}}
{{- $labels := merge (dict "severity" (default $rule.labels.severity (get $set.severity $rule.alert))) $set.alertLabels $rule.labels -}}
{{- $annotations := dict -}}
{{- range $name, $text := omit $rule.annotations "runbook_url" -}}
{{- $_ := set $annotations $name (include "flower-push-job.ranges" (dict "text" $text "interval" $interval)) -}}
{{- end -}}
{{- with $set.runbookUrl -}}
{{- $_ := set $annotations "runbook_url" (replace "docs/alerts.md" . $rule.annotations.runbook_url) -}}
{{- end -}}
{{- with $set.grafanaUrl -}}
{{- $_ := set $annotations "dashboard_url" (printf "%s/d/celery-by-flower" (trimSuffix "/" .)) -}}
{{- end -}}
{{- $rule = merge (dict "for" (default (get $rule "for") (get $set.for $rule.alert)) "labels" $labels "annotations" $annotations) (omit $rule "annotations") -}}
{{- end -}}
{{- if not (has $rule.alert $set.disabled) -}}
{{- $expr = include "flower-push-job.ranges" (dict "text" $expr "interval" $interval) -}}
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
{{- with $set.additionalRules -}}
{{- $groups = append $groups (dict "name" "flower-push-job-additional" "rules" .) -}}
{{- end -}}
{{- toYaml $groups -}}
{{- end -}}
