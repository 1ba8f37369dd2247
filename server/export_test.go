package server

import (
	"buf.build/go/protovalidate"
	"google.golang.org/grpc"

	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
)

// EmptyTwin is a gRPC server with the same options and interceptors as s and
// another TenantService: what a call costs that does nothing.
func EmptyTwin(s *Server, service tmsv1.TenantServiceServer) (*grpc.Server, error) {
	validator, err := protovalidate.New()
	if err != nil {
		return nil, err
	}
	g := s.emptyGRPC(validator)
	tmsv1.RegisterTenantServiceServer(g, service)
	return g, nil
}
