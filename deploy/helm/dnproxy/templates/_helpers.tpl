{{- /* SPDX-License-Identifier: MIT */ -}}

{{- define "dnproxy.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* Room for the longest ending, -metrics, in the 63 characters that a Service's name may have. */}}
{{- define "dnproxy.fullname" -}}
{{- $name := include "dnproxy.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 55 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 55 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 55 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "dnproxy.selector" -}}
app.kubernetes.io/name: {{ include "dnproxy.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{/* What everything carries; the chart's own labels win over commonLabels. */}}
{{- define "dnproxy.labels" -}}
{{- $own := dict
    "app.kubernetes.io/name" (include "dnproxy.name" .)
    "app.kubernetes.io/instance" .Release.Name
    "app.kubernetes.io/version" (.Chart.AppVersion | replace "+" "_" | trunc 63)
    "app.kubernetes.io/managed-by" .Release.Service
    "helm.sh/chart" (printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-") -}}
{{- toYaml (merge $own .Values.commonLabels) -}}
{{- end -}}

{{/* metadata of an object: (list $ NAME MORE-LABELS MORE-ANNOTATIONS). */}}
{{- define "dnproxy.metadata" -}}
{{- $top := index . 0 -}}
name: {{ index . 1 | quote }}
namespace: {{ $top.Release.Namespace | quote }}
labels:
  {{- toYaml (merge (include "dnproxy.labels" $top | fromYaml) (index . 2)) | nindent 2 }}
{{- with merge (dict) (index . 3) $top.Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "dnproxy.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end -}}
{{- end -}}

{{- define "dnproxy.kind" -}}
{{- if .Values.nodeLocal.enabled -}}DaemonSet{{- else -}}{{ .Values.kind }}{{- end -}}
{{- end -}}

{{- define "dnproxy.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "dnproxy.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* The port the program listens on. */}}
{{- define "dnproxy.port" -}}
{{- if .Values.nodeLocal.enabled -}}{{ .Values.nodeLocal.port }}{{- else -}}{{ .Values.config.dnproxy.port }}{{- end -}}
{{- end -}}

{{/* What the network policy and the checks go by: {"upstreams": [...]}, each with ip and port. */}}
{{- define "dnproxy.upstreams" -}}
{{- $all := list -}}
{{- range (kindIs "map" .Values.config.upstream | ternary (list .Values.config.upstream) .Values.config.upstream) -}}
{{- $all = append $all (dict "ip" .ip "port" (default 853 .port | int)) -}}
{{- end -}}
{{- toYaml (dict "upstreams" ($all | uniq)) -}}
{{- end -}}

{{/* $DNPROXY_HOST: where the program listens, when the settings leave it to the chart. */}}
{{- define "dnproxy.listen" -}}
{{- if not .Values.config.dnproxy.host -}}
{{- concat (list "127.0.0.1" "$(POD_IPS)") .Values.nodeLocal.addresses | join "," -}}
{{- end -}}
{{- end -}}

{{/* dnproxy.yml.  The probes ask from loopback, whoever else may ask.  A section without keys is left out, for the
     program reads no {}. */}}
{{- define "dnproxy.config" -}}
{{- $tree := deepCopy .Values.config -}}
{{- $_ := set $tree.dnproxy "port" (include "dnproxy.port" . | int) -}}
{{- $allow := kindIs "string" $tree.dnproxy.allow | ternary (list $tree.dnproxy.allow) $tree.dnproxy.allow -}}
{{- $_ := set $tree.dnproxy "allow" (concat (list "127.0.0.0/8" "::1/128") (default list $allow) | uniq) -}}
{{- if not $tree.dnproxy.host -}}{{- $_ := unset $tree.dnproxy "host" -}}{{- end -}}
{{- if .Values.trustAnchors -}}
{{- $tls := default (dict) $tree.tls -}}
{{- $_ := set $tls "trust_anchors" "/etc/dnproxy/trust-anchors.pem" -}}
{{- $_ := set $tree "tls" $tls -}}
{{- end -}}
{{- range $section, $keys := $tree -}}
{{- if not $keys -}}{{- $_ := unset $tree $section -}}{{- end -}}
{{- end -}}
{{- toYaml $tree -}}
{{- end -}}

{{/* The data of the ConfigMap; its checksum rolls the pods. */}}
{{- define "dnproxy.data" -}}
dnproxy.yml: |
  {{- include "dnproxy.config" . | nindent 2 }}
{{- with .Values.trustAnchors }}
trust-anchors.pem: |
  {{- . | trim | nindent 2 }}
{{- end }}
{{- end -}}

{{/* A probe: (list $ "live"|"ready" SETTINGS). */}}
{{- define "dnproxy.probe" -}}
exec:
  command: ["/dnproxy", "health", "--{{ index . 0 }}", "-c", "/etc/dnproxy/dnproxy.yml"]
{{- with index . 1 }}
periodSeconds: {{ .periodSeconds }}
timeoutSeconds: {{ .timeoutSeconds }}
failureThreshold: {{ .failureThreshold }}
{{- end }}
{{- end -}}

{{/* Whether the cluster is at least of this version: (list $ "1.30"); "yes" or nothing. */}}
{{- define "dnproxy.since" -}}
{{- $top := index . 0 -}}
{{- if semverCompare (printf ">=%s.0-0" (index . 1)) $top.Capabilities.KubeVersion.Version -}}yes{{- end -}}
{{- end -}}
