variable "subscription_id" {
  description = "The subscription that everything is made in."
  type        = string
}

variable "resource_group_name" {
  description = "The resource group; it is made."
  type        = string
  default     = "flowcraft"
}

variable "location" {
  description = "The Azure region. The cluster should be in the same one: every node of a run is a few requests."
  type        = string
  default     = "westeurope"
}

variable "name" {
  description = "Part of the names that are unique in the world: 3 to 12 lower-case letters and digits."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9]{2,11}$", var.name))
    error_message = "3 to 12 lower-case letters and digits, beginning with a letter."
  }
}

variable "aks" {
  description = "The AKS cluster whose pods sign in; its OIDC issuer and workload identity must be enabled."
  type = object({
    name                = string
    resource_group_name = string
  })
}

variable "operator" {
  description = "Namespace and service account of the operator (helm release flowcraft-operator)."
  type = object({
    namespace       = optional(string, "flowcraft-system")
    service_account = optional(string, "flowcraft-operator")
  })
  default = {}
}

variable "pools" {
  description = "The FlowcraftWorkerPools: namespace and name of each, and its queue (default: <namespace>-<name>)."
  type = map(object({
    namespace = string
    name      = string
    queue     = optional(string)
  }))
  default = {
    orders = { namespace = "default", name = "orders", queue = "shop-orders" }
  }

  validation {
    condition = alltrue([
      for pool in values(var.pools) :
      can(regex("^[a-z0-9]+(-[a-z0-9]+)*$", coalesce(pool.queue, "${pool.namespace}-${pool.name}")))
      && length(coalesce(pool.queue, "${pool.namespace}-${pool.name}")) <= 56
    ])
    error_message = "A queue's name has at most 56 lower-case letters, digits and single hyphens."
  }
}

variable "database" {
  description = "The Cosmos DB database and its two containers."
  type = object({
    name              = optional(string, "flowcraft-db")
    context_container = optional(string, "contexts")
    status_container  = optional(string, "statuses")
  })
  default = {}
}

variable "cosmos_max_throughput" {
  description = "Autoscale limit of each container in RU/s (the least is a tenth of it); null makes the account serverless."
  type        = number
  default     = null
}

variable "redis_sku" {
  description = "Size of Azure Managed Redis. Claims and joins of active runs are small: the smallest one serves thousands of runs."
  type        = string
  default     = "Balanced_B0"
}

variable "redis_high_availability" {
  description = "Replicate Redis. Losing it never costs a run, but joins are slower to notice meanwhile."
  type        = bool
  default     = true
}

variable "tags" {
  description = "Tags of everything."
  type        = map(string)
  default     = {}
}
