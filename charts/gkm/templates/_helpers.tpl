{{- /* Labels of everything in this chart. */}}
{{- define "gkm.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{ include "gkm.operatorLabels" . }}
{{- end }}

{{- /* Labels by which the operator's pods are found. */}}
{{- define "gkm.operatorLabels" -}}
app.kubernetes.io/name: gkm
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
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
