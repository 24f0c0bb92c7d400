{{- /* Labels of everything of one component: (dict "root" $ "component" "agent"). */}}
{{- define "gkm.componentLabels" -}}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
{{ include "gkm.componentSelector" . }}
{{- end }}

{{- /* Labels by which the pods of one component are found. */}}
{{- define "gkm.componentSelector" -}}
app.kubernetes.io/name: gkm
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}
