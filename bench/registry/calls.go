package main

import (
	"context"
	"fmt"

	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
)

// call is one thing that clients ask for.
type call struct {
	name string
	// aimed is whether the ratio has an aim: writing has none, and what memory
	// alone takes is part of the calls above it.
	aimed bool
	do    func(ctx context.Context, r *registry) error
}

var calls = []call{
	{"check", true, func(ctx context.Context, r *registry) error {
		v, err := r.client.Check(ctx, &tmsv1.CheckTenantRequest{Id: r.id()})
		if err == nil && v.GetReason() == "unknown" {
			err = fmt.Errorf("tenant %s is not found", v.GetId())
		}
		return err
	}},
	{"check of an unknown tenant", true, func(ctx context.Context, r *registry) error {
		_, err := r.client.Check(ctx, &tmsv1.CheckTenantRequest{Id: "nobodyknows"})
		return err
	}},
	{"check, in memory", false, func(ctx context.Context, r *registry) error {
		_, err := r.service.Check(ctx, r.id())
		return err
	}},
	{"get", true, func(ctx context.Context, r *registry) error {
		_, err := r.client.Get(ctx, &tmsv1.GetTenantRequest{Id: r.id()})
		return err
	}},
	listing("first page", &tmsv1.ListTenantsRequest{}),
	{"page in the middle", true, func(ctx context.Context, r *registry) error {
		return page(ctx, r, &tmsv1.ListTenantsRequest{PageSize: pageSize, PageToken: r.middle})
	}},
	listing("page by state, label and release", &tmsv1.ListTenantsRequest{Filter: "state:active label.tier:gold release:0.8.1"}),
	listing("page by label", &tmsv1.ListTenantsRequest{Filter: "label.tier:gold"}),
	listing("page by state", &tmsv1.ListTenantsRequest{Filter: "state:suspended"}),
	listing("page by release", &tmsv1.ListTenantsRequest{Filter: "release:0.8.2"}),
	listing("page of the newest", &tmsv1.ListTenantsRequest{OrderBy: "create_time desc"}),
	listing("page by name", &tmsv1.ListTenantsRequest{OrderBy: "display_name"}),
	{"create", false, func(ctx context.Context, r *registry) error {
		r.made++
		_, err := r.client.Create(ctx, &tmsv1.CreateTenantRequest{
			Tenant:    &tmsv1.Tenant{Id: "n" + idOf(r.n+r.made), Release: "0.8.1", Labels: map[string]string{"tier": "new"}},
			RequestId: fmt.Sprint("request ", r.made),
		})
		return err
	}},
}

func listing(name string, request *tmsv1.ListTenantsRequest) call {
	request.PageSize = pageSize
	return call{name, true, func(ctx context.Context, r *registry) error { return page(ctx, r, request) }}
}

// page asks for a full one.
func page(ctx context.Context, r *registry, request *tmsv1.ListTenantsRequest) error {
	found, err := r.client.List(ctx, request)
	if n := len(found.GetTenants()); err == nil && n != pageSize {
		err = fmt.Errorf("a page of %d tenants instead of %d", n, pageSize)
	}
	return err
}
