output "helm_values" {
  description = "Values of the chart, without the address of Redis: `terraform output -raw helm_values > values.yaml`."
  value = yamlencode({
    backend = {
      existingSecret = "flowcraft-redis"
      queue          = { accountUrl = trimsuffix(azurerm_storage_account.this.primary_queue_endpoint, "/") }
      cosmos = {
        endpoint         = azurerm_cosmosdb_account.this.endpoint
        database         = var.database.name
        contextContainer = var.database.context_container
        statusContainer  = var.database.status_container
      }
    }
    serviceAccount = {
      name = var.operator.service_account
      annotations = {
        "azure.workload.identity/client-id" = azurerm_user_assigned_identity.this["operator"].client_id
      }
    }
    workloadIdentity = { enabled = true }
  })
}

output "redis_url" {
  description = "The address of Redis with its key."
  sensitive   = true
  value = format(
    "rediss://:%s@%s:%d/0",
    urlencode(azurerm_managed_redis.this.default_database[0].primary_access_key),
    azurerm_managed_redis.this.hostname,
    azurerm_managed_redis.this.default_database[0].port,
  )
}

output "pools" {
  description = "For each pool: `spec.backend.queue.name` and `spec.backend.identity.clientId`."
  value = {
    for key, queue in local.queues : key => {
      queue     = queue
      client_id = azurerm_user_assigned_identity.this["pool-${key}"].client_id
    }
  }
}
