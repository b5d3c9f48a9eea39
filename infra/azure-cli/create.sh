#!/usr/bin/env bash
# The same as ../terraform, by the Azure CLI: queues, database and containers, Redis, identities and their roles.
# May be run again: what exists is left as it is. Nothing is deleted.
#
#   NAME=contoso AKS=my-cluster AKS_GROUP=my-cluster-group ./create.sh
#   NAME=contoso AKS=… AKS_GROUP=… POOLS="default/orders=shop-orders billing/invoices" ./create.sh
#
# Writes values.yaml for the chart, and prints what to do next. Needs az 2.75 or later, signed in (`az login`) as
# somebody who may make resources and give roles in the subscription.
set -euo pipefail

: "${NAME:?part of the names that are unique in the world: 3 to 12 lower-case letters and digits}"
: "${AKS:?name of the AKS cluster; its OIDC issuer and workload identity must be enabled}"
: "${AKS_GROUP:?resource group of the AKS cluster}"
GROUP=${GROUP:-flowcraft}
LOCATION=${LOCATION:-westeurope}
OPERATOR=${OPERATOR:-flowcraft-system/flowcraft-operator} # namespace and service account of the operator
POOLS=${POOLS:-default/orders=shop-orders}                # namespace/name[=queue], several with blanks between
DATABASE=${DATABASE:-flowcraft-db}
CONTEXT_CONTAINER=${CONTEXT_CONTAINER:-contexts}
STATUS_CONTAINER=${STATUS_CONTAINER:-statuses}
VALUE_CONTAINER=flowcraft-values # the name that workers expect
REDIS_SKU=${REDIS_SKU:-Balanced_B0}
VALUES=${VALUES:-values.yaml}

[[ $NAME =~ ^[a-z][a-z0-9]{2,11}$ ]] || { echo "NAME: 3 to 12 lower-case letters and digits" >&2; exit 2; }
storage=${NAME}flowcraft
cosmos=${NAME}-flowcraft
redis=${NAME}-flowcraft

say() { printf '%s\n' "$*" >&2; }
ask() { az "$@" --only-show-errors --output tsv; }
make() { az "$@" --only-show-errors --output none; }
exists() { az "$@" --only-show-errors --output none 2>/dev/null; }

queue_of() { # namespace/name[=queue]
  local pool=${1%%=*}
  [[ $1 == *=* ]] && echo "${1#*=}" || echo "${pool/\//-}"
}

say "resource group $GROUP"
make group create --name "$GROUP" --location "$LOCATION"

say "storage account $storage"
exists storage account show --name "$storage" --resource-group "$GROUP" ||
  make storage account create --name "$storage" --resource-group "$GROUP" --location "$LOCATION" \
    --sku Standard_ZRS --kind StorageV2 --min-tls-version TLS1_2 \
    --allow-shared-key-access false --allow-blob-public-access false
storage_id=$(ask storage account show --name "$storage" --resource-group "$GROUP" --query id)
for pool in $POOLS; do
  for queue in "$(queue_of "$pool")" "$(queue_of "$pool")-poison"; do
    say "queue $queue"
    # Through Azure Resource Manager: whoever runs this needs no role on the data. PUT makes it, or leaves it as it is.
    make rest --method put --body '{}' \
      --url "https://management.azure.com$storage_id/queueServices/default/queues/$queue?api-version=2023-05-01"
  done
done
say "blob container $VALUE_CONTAINER"
make rest --method put --body '{"properties":{"publicAccess":"None"}}' \
  --url "https://management.azure.com$storage_id/blobServices/default/containers/$VALUE_CONTAINER?api-version=2023-05-01"

say "Cosmos DB account $cosmos (minutes)"
exists cosmosdb show --name "$cosmos" --resource-group "$GROUP" ||
  make cosmosdb create --name "$cosmos" --resource-group "$GROUP" \
    --locations regionName="$LOCATION" failoverPriority=0 \
    --default-consistency-level Session --capabilities EnableServerless --disable-local-auth true
account=(--account-name "$cosmos" --resource-group "$GROUP")
exists cosmosdb sql database show "${account[@]}" --name "$DATABASE" ||
  make cosmosdb sql database create "${account[@]}" --name "$DATABASE"

# As `flowcraft provision` makes them: only what is queried is indexed, and no time to live, which would delete
# facts of runs that are still active.
container() { # name, indexed paths
  local name=$1 paths
  shift
  paths=$(printf '{"path":"%s"},' "$@")
  exists cosmosdb sql container show "${account[@]}" --database-name "$DATABASE" --name "$name" ||
    make cosmosdb sql container create "${account[@]}" --database-name "$DATABASE" --name "$name" \
      --partition-key-path /runId --partition-key-version 2 \
      --idx "{\"indexingMode\":\"consistent\",\"automatic\":true,\"includedPaths\":[${paths%,}],\"excludedPaths\":[{\"path\":\"/*\"}]}"
}
say "containers $STATUS_CONTAINER and $CONTEXT_CONTAINER"
container "$STATUS_CONTAINER" \
  '/queue/?' '/status/?' '/lastUpdated/?' '/nextCheck/?' '/expiresAt/?' '/type/?' '/adoptedAt/?'
container "$CONTEXT_CONTAINER" '/type/?' '/status/?'

say "Azure Managed Redis $redis (minutes)"
exists redisenterprise show --cluster-name "$redis" --resource-group "$GROUP" ||
  make redisenterprise create --cluster-name "$redis" --resource-group "$GROUP" --location "$LOCATION" \
    --sku "$REDIS_SKU" --public-network-access Enabled --minimum-tls-version 1.2 \
    --client-protocol Encrypted --clustering-policy EnterpriseCluster --eviction-policy NoEviction \
    --access-keys-authentication Enabled

issuer=$(ask aks show --name "$AKS" --resource-group "$AKS_GROUP" --query oidcIssuerProfile.issuerUrl)
[[ $issuer == https://* ]] || {
  say "the AKS cluster has no OIDC issuer: az aks update -n $AKS -g $AKS_GROUP --enable-oidc-issuer --enable-workload-identity"
  exit 1
}
database_scope=$(ask cosmosdb show --name "$cosmos" --resource-group "$GROUP" --query id)/dbs/$DATABASE
contributor=00000000-0000-0000-0000-000000000002 # Cosmos DB Built-in Data Contributor

identity() { # name, namespace/service account, queues: prints the client id
  local name=$1 account_of=$2 principal queue held
  shift 2
  exists identity show --name "$name" --resource-group "$GROUP" ||
    make identity create --name "$name" --resource-group "$GROUP" --location "$LOCATION"
  principal=$(ask identity show --name "$name" --resource-group "$GROUP" --query principalId)
  exists identity federated-credential show --name "aks-$AKS" --identity-name "$name" --resource-group "$GROUP" ||
    make identity federated-credential create --name "aks-$AKS" --identity-name "$name" --resource-group "$GROUP" \
      --issuer "$issuer" --subject "system:serviceaccount:${account_of/\//:}" --audiences api://AzureADTokenExchange
  for queue in "$@"; do
    make role assignment create --assignee-object-id "$principal" --assignee-principal-type ServicePrincipal \
      --role "Storage Queue Data Contributor" --scope "$storage_id/queueServices/default/queues/$queue"
  done
  make role assignment create --assignee-object-id "$principal" --assignee-principal-type ServicePrincipal \
    --role "Storage Blob Data Contributor" --scope "$storage_id/blobServices/default/containers/$VALUE_CONTAINER"
  held=$(ask cosmosdb sql role assignment list "${account[@]}" --query "[?principalId=='$principal'] | length(@)")
  [[ $held != 0 ]] ||
    make cosmosdb sql role assignment create "${account[@]}" --role-definition-id "$contributor" \
      --principal-id "$principal" --scope "$database_scope"
  ask identity show --name "$name" --resource-group "$GROUP" --query clientId
}

all_queues=()
lines=()
for pool in $POOLS; do
  queue=$(queue_of "$pool") key=${pool%%=*}
  all_queues+=("$queue" "$queue-poison")
  say "identity of pool $key"
  client=$(identity "flowcraft-pool-${key/\//-}" "$key-workers" "$queue" "$queue-poison")
  lines+=("  pool $key: spec.backend.queue.name: $queue, spec.backend.identity.clientId: $client")
done
say "identity of the operator"
operator_client=$(identity flowcraft-operator "$OPERATOR" "${all_queues[@]}")

cat >"$VALUES" <<YAML
backend:
  existingSecret: flowcraft-redis
  queue:
    accountUrl: https://$storage.queue.core.windows.net
  cosmos:
    endpoint: https://$cosmos.documents.azure.com:443/
    database: $DATABASE
    contextContainer: $CONTEXT_CONTAINER
    statusContainer: $STATUS_CONTAINER
serviceAccount:
  name: ${OPERATOR#*/}
  annotations:
    azure.workload.identity/client-id: $operator_client
workloadIdentity:
  enabled: true
YAML

host=$(ask redisenterprise show --cluster-name "$redis" --resource-group "$GROUP" --query hostName)
port=$(ask redisenterprise database show --cluster-name "$redis" --resource-group "$GROUP" --query port)
cat <<TEXT
$VALUES is written. Next:

  key=\$(az redisenterprise database list-keys --cluster-name $redis --resource-group $GROUP --query primaryKey -o tsv)
  kubectl create namespace ${OPERATOR%/*}
  kubectl create secret generic flowcraft-redis -n ${OPERATOR%/*} \\
    --from-literal=FLOWCRAFT_REDIS_URL="rediss://:\$(jq -rn --arg k "\$key" '\$k|@uri')@$host:$port/0"
  helm install flowcraft-operator charts/flowcraft-operator -n ${OPERATOR%/*} -f $VALUES

$(printf '%s\n' "${lines[@]}")
TEXT
