package db

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/tracardi/tms/tenants"
)

// selection is a query for tenants in the making. It names only the conditions
// that are asked for: a condition that a parameter switches off keeps Postgres
// from using the index that was made for the others.
type selection struct {
	joins, where []string
	args         []any
}

// arg adds a parameter and returns its name.
func (s *selection) arg(v any) string {
	s.args = append(s.args, v)
	return fmt.Sprintf("$%d", len(s.args))
}

func (s *selection) and(condition string) { s.where = append(s.where, condition) }

// selectTenants holds the conditions of f; position, order and limit come
// with page.
func selectTenants(f tenants.Filter) *selection {
	s := &selection{}
	s.state(f)
	if f.Release != "" {
		s.and(`release collate "C" = ` + s.arg(f.Release))
	}
	if f.Cluster != "" {
		s.and(`cluster collate "C" = ` + s.arg(f.Cluster))
	}
	if f.IDs != nil {
		s.and(`id = any(` + s.arg(f.IDs) + `)`)
	}
	for i, name := range slices.Sorted(maps.Keys(f.Labels)) {
		l := fmt.Sprintf("l%d", i)
		s.joins = append(s.joins, fmt.Sprintf("join tenant_labels %[1]s on %[1]s.tenant_id = tenants.id and %[1]s.name = %[2]s and %[1]s.value = %[3]s", l, s.arg(name), s.arg(f.Labels[name])))
	}
	return s
}

// state is tenant_state of the schema, in the words of the indexes; a test
// holds the two equal.
func (s *selection) state(f tenants.Filter) {
	if f.State == tenants.StatePurged {
		s.and("purged_at is not null")
		return
	}
	s.and("purged_at is null") // follows from the others, but the indexes of orders want to hear it
	expired := func() string { return "(expires_at is not null and expires_at <= " + s.arg(f.Now) + ")" }
	switch f.State {
	case "":
		if !f.ShowDeleted {
			s.and("deleted_at is null")
		}
	case tenants.StateActive:
		s.and("deleted_at is null and not suspended and not " + expired())
	case tenants.StateSuspended:
		s.and("deleted_at is null and suspended and not " + expired())
	case tenants.StateExpired:
		s.and("deleted_at is null and " + expired())
	case tenants.StateDeleted:
		s.and("deleted_at is not null")
	default:
		s.and("false")
	}
}

// from is the query behind its select list.
func (s *selection) from() string {
	return " from tenants " + strings.Join(s.joins, " ") + " where " + strings.Join(s.where, " and ")
}

// orderColumns is the column behind each field of tenants.OrderFields and the
// type of its values.
var orderColumns = map[string][2]string{
	"create_time":  {"created_at", "timestamptz"},
	"update_time":  {"updated_at", "timestamptz"},
	"display_name": {`display_name collate "C"`, "text"},
	"release":      {`release collate "C"`, "text"},
}

// page adds the position where the page before ended, and returns order and
// limit.
func (s *selection) page(f tenants.Filter) string {
	direction, beyond := "asc", ">"
	if f.Order.Descending {
		direction, beyond = "desc", "<"
	}
	column, byColumn := orderColumns[f.Order.Field]
	if f.AfterID != "" {
		if byColumn {
			s.and(fmt.Sprintf("(%s, id) %s (%s::text::%s, %s)", column[0], beyond, s.arg(f.AfterKey), column[1], s.arg(f.AfterID)))
		} else {
			s.and("id " + beyond + " " + s.arg(f.AfterID))
		}
	}
	order := " order by "
	if byColumn {
		order += column[0] + " " + direction + ", "
	}
	order += "id " + direction
	if f.Limit > 0 {
		order += " limit " + s.arg(f.Limit)
	}
	return order
}

// Tenants implements tenants.Store.
func (r *Registry) Tenants(ctx context.Context, f tenants.Filter) ([]*tenants.Tenant, int, error) {
	if !f.Count {
		found, err := r.tenantPage(ctx, r.db.pool, f)
		return found, 0, failure(err)
	}
	var total int
	var found []*tenants.Tenant
	err := r.db.inTx(ctx, func(tx pgx.Tx) (err error) {
		all := selectTenants(f)
		if err := tx.QueryRow(ctx, "select count(*)"+all.from(), all.args...).Scan(&total); err != nil {
			return err
		}
		found, err = r.tenantPage(ctx, tx, f)
		return err
	})
	return found, total, err
}

func (r *Registry) tenantPage(ctx context.Context, q querier, f tenants.Filter) ([]*tenants.Tenant, error) {
	s := selectTenants(f)
	order := s.page(f)
	rows, err := q.Query(ctx, "select "+tenantColumns+s.from()+order, s.args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, r.scanTenant)
}
