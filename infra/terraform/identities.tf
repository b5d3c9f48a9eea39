# Who may do what: one identity for the operator, one for each pool, no rights beyond the data that they work on.

data "azurerm_kubernetes_cluster" "this" {
  name                = var.aks.name
  resource_group_name = var.aks.resource_group_name
}

locals {
  # The operator works on the queues and runs of every pool; a pool on its own queues only.
  identities = merge(
    {
      operator = {
        service_account = "${var.operator.namespace}:${var.operator.service_account}"
        queues          = local.all_queues
      }
    },
    {
      for key, pool in var.pools : "pool-${key}" => {
        # The operator names a pool's service account so.
        service_account = "${pool.namespace}:${pool.name}-workers"
        queues          = toset([local.queues[key], "${local.queues[key]}-poison"])
      }
    },
  )

  queue_grants = merge([
    for identity, given in local.identities : {
      for queue in given.queues : "${identity}/${queue}" => { identity = identity, queue = queue }
    }
  ]...)
}

resource "azurerm_user_assigned_identity" "this" {
  for_each            = local.identities
  name                = "flowcraft-${each.key}"
  resource_group_name = azurerm_resource_group.this.name
  location            = azurerm_resource_group.this.location
  tags                = var.tags
}

resource "azurerm_federated_identity_credential" "this" {
  for_each                  = local.identities
  name                      = "aks-${var.aks.name}"
  user_assigned_identity_id = azurerm_user_assigned_identity.this[each.key].id
  issuer                    = data.azurerm_kubernetes_cluster.this.oidc_issuer_url
  subject                   = "system:serviceaccount:${each.value.service_account}"
  audience                  = ["api://AzureADTokenExchange"]
}

# Send, receive, change and delete messages, of these queues and no others.
resource "azurerm_role_assignment" "queue" {
  for_each             = local.queue_grants
  scope                = "${azurerm_storage_account.this.id}/queueServices/default/queues/${each.value.queue}"
  role_definition_name = "Storage Queue Data Contributor"
  principal_id         = azurerm_user_assigned_identity.this[each.value.identity].principal_id
  principal_type       = "ServicePrincipal"
  depends_on           = [azurerm_storage_queue.this]
}

# Read, write and delete large values, in this container only.
resource "azurerm_role_assignment" "values" {
  for_each             = local.identities
  scope                = "${azurerm_storage_account.this.id}/blobServices/default/containers/${azurerm_storage_container.values.name}"
  role_definition_name = "Storage Blob Data Contributor"
  principal_id         = azurerm_user_assigned_identity.this[each.key].principal_id
  principal_type       = "ServicePrincipal"
}

# Read and write items, of this database only; not the account, not its keys.
resource "azurerm_cosmosdb_sql_role_assignment" "this" {
  for_each            = local.identities
  name                = uuidv5("url", "flowcraft:${azurerm_cosmosdb_account.this.id}:${each.key}")
  resource_group_name = azurerm_resource_group.this.name
  account_name        = azurerm_cosmosdb_account.this.name
  # Cosmos DB Built-in Data Contributor.
  role_definition_id = "${azurerm_cosmosdb_account.this.id}/sqlRoleDefinitions/00000000-0000-0000-0000-000000000002"
  principal_id       = azurerm_user_assigned_identity.this[each.key].principal_id
  scope              = "${azurerm_cosmosdb_account.this.id}/dbs/${azurerm_cosmosdb_sql_database.this.name}"
}
