{{- define "dnproxy.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "dnproxy.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else if contains (include "dnproxy.name" .) .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "dnproxy.name" .) | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "dnproxy.selector" -}}
app.kubernetes.io/name: {{ include "dnproxy.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "dnproxy.labels" -}}
{{ include "dnproxy.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "dnproxy.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end -}}
{{- end -}}

{{- define "dnproxy.isDaemonSet" -}}
{{- if or .Values.nodeLocal (eq .Values.kind "DaemonSet") -}}true{{- end -}}
{{- end -}}

{{/* The port the program listens on: 53 on a node's own network, else one that needs no right. */}}
{{- define "dnproxy.port" -}}
{{- if .Values.nodeLocal -}}53{{- else -}}5353{{- end -}}
{{- end -}}

{{/* dnproxy.yml: what is given, over what the chart decides. */}}
{{- define "dnproxy.config" -}}
{{- $own := dict "dnproxy" (dict "host" "0.0.0.0" "port" (include "dnproxy.port" . | int) "allow" .Values.allow) -}}
{{- toYaml (mergeOverwrite $own (deepCopy .Values.config)) -}}
{{- end -}}
