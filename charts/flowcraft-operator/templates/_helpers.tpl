{{- define "flowcraft.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | replace "." "-" | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | replace "." "-" | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "flowcraft.clusterName" -}}
{{- printf "%s-%s" .Release.Namespace (include "flowcraft.fullname" .) | trunc 200 | trimSuffix "-" -}}
{{- end -}}

{{- define "flowcraft.selectorLabels" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{- define "flowcraft.labels" -}}
{{ include "flowcraft.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service | quote }}
app.kubernetes.io/part-of: flowcraft
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" | quote }}
{{- end -}}

{{- define "flowcraft.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "flowcraft.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- required "serviceAccount.name is needed where serviceAccount.create is false: the account called default would give the operator's rights to every pod of the namespace" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "flowcraft.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{- /* The secret settings that are given as values, by variable; YAML of a map, empty if there is none. */ -}}
{{- define "flowcraft.secretSettings" -}}
{{- with .Values.backend.queue.connectionString }}
FLOWCRAFT_QUEUE_CONNECTION_STRING: {{ . | quote }}
{{- end }}
{{- with .Values.backend.cosmos.connectionString }}
FLOWCRAFT_COSMOS_CONNECTION_STRING: {{ . | quote }}
{{- end }}
{{- with .Values.backend.cosmos.key }}
FLOWCRAFT_COSMOS_KEY: {{ . | quote }}
{{- end }}
{{- with .Values.backend.redis.url }}
FLOWCRAFT_REDIS_URL: {{ . | quote }}
{{- end }}
{{- end -}}

{{- define "flowcraft.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "flowcraft.securityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities:
  drop: [ALL]
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- /* What the operator may do in a namespace that it looks after. */ -}}
{{- define "flowcraft.rules" -}}
- apiGroups: [flowcraft.io]
  resources: [flowcraftworkerpools, workflowruns]
  verbs: [get, list, watch, patch]
- apiGroups: [flowcraft.io]
  resources: [flowcraftworkerpools/status, workflowruns/status]
  verbs: [patch]
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, create, patch]
- apiGroups: [""]
  resources: [serviceaccounts]
  verbs: [get, create, patch]
# Connection settings of pools are read from Secrets in their namespaces, and the operator's own are passed on.
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, create, patch]
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get]
- apiGroups: [""]
  resources: [pods]
  verbs: [list]
- apiGroups: [""]
  resources: [events]
  verbs: [get, create, patch]
{{- end -}}
