terraform {
  required_version = ">= 1.6"
  required_providers {
    azurerm = {
      source = "hashicorp/azurerm"
      # azurerm_managed_redis is there since 4.50.
      version = ">= 4.50, < 5.0"
    }
  }
}

provider "azurerm" {
  features {}
  subscription_id = var.subscription_id
  # The storage account takes no keys: queues are made through Azure Resource Manager and by the caller's identity.
  storage_use_azuread = true
}
