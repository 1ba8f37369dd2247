package tenants

import "slices"

// Role is what an API key may do.
type Role string

// Roles.
const (
	RoleInstance    Role = "instance"    // Tracardi containers: token, check, and Tracardi's own routes
	RoleViewer      Role = "viewer"      // reads everything but secrets
	RoleProvisioner Role = "provisioner" // viewer, and changes tenants
	RoleOperator    Role = "operator"    // viewer, and runs upgrades, backups and purges
	RoleAdmin       Role = "admin"       // everything
)

// Permission is something a role may have.
type Permission string

// Permissions.
const (
	PermCheck    Permission = "check"         // ask whether a tenant may be served
	PermTracardi Permission = "tracardi"      // Tracardi's own routes, its single key could always use
	PermRead     Permission = "read"          // read registry, releases and rollouts, without secrets
	PermTenants  Permission = "tenants.write" // change tenants
	PermInstall  Permission = "install"       // see install tokens
	PermPurge    Permission = "purge"         // remove everything of a deleted tenant
	PermAudit    Permission = "audit"         // read who changed what
	PermUpgrades Permission = "upgrades.write"
	PermBackups  Permission = "backups.write"
	PermKeys     Permission = "keys"     // see and change API keys
	PermWebhooks Permission = "webhooks" // see and change where events are sent to
	PermClusters Permission = "clusters" // change search clusters and how TMS logs in there
)

var grants = map[Role][]Permission{
	RoleInstance:    {PermCheck, PermTracardi, PermInstall},
	RoleViewer:      {PermCheck, PermRead},
	RoleProvisioner: {PermCheck, PermRead, PermTracardi, PermInstall, PermTenants},
	RoleOperator:    {PermCheck, PermRead, PermUpgrades, PermBackups, PermPurge, PermAudit},
	RoleAdmin:       {PermCheck, PermRead, PermTracardi, PermInstall, PermTenants, PermUpgrades, PermBackups, PermPurge, PermAudit, PermKeys, PermWebhooks, PermClusters},
}

// Can says whether the role has the permission. An unknown role has none.
func (r Role) Can(p Permission) bool { return slices.Contains(grants[r], p) }

// Valid says whether the role exists.
func (r Role) Valid() bool { return grants[r] != nil }
