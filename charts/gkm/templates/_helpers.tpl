{{- /* Labels of everything in this chart; takes the context and the component. */}}
{{- define "gkm.labels" -}}
{{- $root := first . -}}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
{{ include "gkm.selectorLabels" . }}
{{- end }}

{{- /* Labels by which a component's pods are found; takes the context and the component. */}}
{{- define "gkm.selectorLabels" -}}
app.kubernetes.io/name: gkm
app.kubernetes.io/instance: {{ (first .).Release.Name }}
app.kubernetes.io/component: {{ last . }}
{{- end }}

{{- /* What runs before `helm uninstall` takes anything away; it stays if it fails, for its log. */}}
{{- define "gkm.uninstallHook" -}}
helm.sh/hook: pre-delete
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end }}

{{- /* GKM's own image. */}}
{{- define "gkm.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}
{{- end }}
