# What Flowcraft needs on Azure: queues, a database with two containers, Redis. Who may use it is in identities.tf.

locals {
  queues = {
    for key, pool in var.pools : key => coalesce(pool.queue, "${pool.namespace}-${pool.name}")
  }
  # The name that workers expect.
  value_container = "flowcraft-values"
  # Each queue has a poison queue beside it.
  all_queues = toset(flatten([for name in values(local.queues) : [name, "${name}-poison"]]))

  # As `flowcraft provision` makes them (workers/src/flowcraft_azure/provision.py): only what is queried is indexed.
  containers = {
    status = {
      name    = var.database.status_container
      indexed = ["/queue/?", "/status/?", "/lastUpdated/?", "/nextCheck/?", "/expiresAt/?", "/type/?", "/adoptedAt/?"]
    }
    context = {
      name    = var.database.context_container
      indexed = ["/type/?", "/status/?"]
    }
  }
}

resource "azurerm_resource_group" "this" {
  name     = var.resource_group_name
  location = var.location
  tags     = var.tags
}

# ---- queues ----

resource "azurerm_storage_account" "this" {
  name                            = "${var.name}flowcraft"
  resource_group_name             = azurerm_resource_group.this.name
  location                        = azurerm_resource_group.this.location
  account_tier                    = "Standard"
  account_replication_type        = "ZRS"
  account_kind                    = "StorageV2"
  min_tls_version                 = "TLS1_2"
  shared_access_key_enabled       = false
  allow_nested_items_to_be_public = false
  tags                            = var.tags
}

resource "azurerm_storage_queue" "this" {
  for_each           = local.all_queues
  name               = each.key
  storage_account_id = azurerm_storage_account.this.id
}

# Outputs, inputs and context values that are too large for an item of Cosmos DB. They are deleted with their run: no
# lifecycle rule may do it before.
resource "azurerm_storage_container" "values" {
  name                  = local.value_container
  storage_account_id    = azurerm_storage_account.this.id
  container_access_type = "private"
}

# ---- facts ----

resource "azurerm_cosmosdb_account" "this" {
  name                = "${var.name}-flowcraft"
  resource_group_name = azurerm_resource_group.this.name
  location            = azurerm_resource_group.this.location
  offer_type          = "Standard"
  kind                = "GlobalDocumentDB"
  # Whoever signs in does so with an identity and a role.
  local_authentication_enabled = false
  # One write region: a worker that reads with the token of its own commit sees every earlier commit of the run.
  multiple_write_locations_enabled = false
  tags                             = var.tags

  consistency_policy {
    consistency_level = "Session"
  }

  geo_location {
    location          = azurerm_resource_group.this.location
    failover_priority = 0
  }

  dynamic "capabilities" {
    for_each = var.cosmos_max_throughput == null ? ["EnableServerless"] : []
    content {
      name = capabilities.value
    }
  }
}

resource "azurerm_cosmosdb_sql_database" "this" {
  name                = var.database.name
  resource_group_name = azurerm_resource_group.this.name
  account_name        = azurerm_cosmosdb_account.this.name
}

resource "azurerm_cosmosdb_sql_container" "this" {
  for_each              = local.containers
  name                  = each.value.name
  resource_group_name   = azurerm_resource_group.this.name
  account_name          = azurerm_cosmosdb_account.this.name
  database_name         = azurerm_cosmosdb_sql_database.this.name
  partition_key_paths   = ["/runId"]
  partition_key_kind    = "Hash"
  partition_key_version = 2
  # No default_ttl: time to live counts from an item's last write and would delete facts of runs that are still active.

  indexing_policy {
    indexing_mode = "consistent"

    dynamic "included_path" {
      for_each = each.value.indexed
      content {
        path = included_path.value
      }
    }

    excluded_path {
      path = "/*"
    }
  }

  dynamic "autoscale_settings" {
    for_each = var.cosmos_max_throughput == null ? [] : [var.cosmos_max_throughput]
    content {
      max_throughput = autoscale_settings.value
    }
  }
}

# ---- coordination ----

resource "azurerm_managed_redis" "this" {
  name                      = "${var.name}-flowcraft"
  resource_group_name       = azurerm_resource_group.this.name
  location                  = azurerm_resource_group.this.location
  sku_name                  = var.redis_sku
  high_availability_enabled = var.redis_high_availability
  tags                      = var.tags

  default_database {
    # One endpoint for all keys; the client speaks no cluster protocol.
    clustering_policy = "EnterpriseCluster"
    client_protocol   = "Encrypted"
    # A claim or a join must never be evicted while it is needed: a full server is an error that the workers see.
    eviction_policy = "NoEviction"
    # The one secret: Redis is reached by an address that holds its key.
    access_keys_authentication_enabled = true
  }
}
