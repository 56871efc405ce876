package extauthz

import (
	"context"
	"time"

	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	grpcstatus "google.golang.org/grpc/status"
)

// healthPeriod is how often a watched status is looked at.
const healthPeriod = 500 * time.Millisecond

// healthService says SERVING while there is a snapshot to decide on (gRPC health checking protocol v1).
type healthService struct {
	healthv1.UnimplementedHealthServer
	server *Server
}

// Check implements healthv1.HealthServer.
func (h healthService) Check(_ context.Context, in *healthv1.HealthCheckRequest) (*healthv1.HealthCheckResponse, error) {
	status := h.status(in.GetService())
	if status == healthv1.HealthCheckResponse_SERVICE_UNKNOWN {
		return nil, grpcstatus.Error(codes.NotFound, "unknown service")
	}
	return &healthv1.HealthCheckResponse{Status: status}, nil
}

// Watch implements healthv1.HealthServer.
func (h healthService) Watch(in *healthv1.HealthCheckRequest, out healthv1.Health_WatchServer) error {
	ticker := time.NewTicker(healthPeriod)
	defer ticker.Stop()
	last := healthv1.HealthCheckResponse_UNKNOWN
	for {
		if status := h.status(in.GetService()); status != last {
			if err := out.Send(&healthv1.HealthCheckResponse{Status: status}); err != nil {
				return err
			}
			last = status
		}
		select {
		case <-out.Context().Done():
			return grpcstatus.FromContextError(out.Context().Err()).Err()
		case <-h.server.stopping:
			return grpcstatus.Error(codes.Unavailable, "the server is stopping")
		case <-ticker.C:
		}
	}
}

func (h healthService) status(service string) healthv1.HealthCheckResponse_ServingStatus {
	switch service {
	case "", authorizationService:
	default:
		return healthv1.HealthCheckResponse_SERVICE_UNKNOWN
	}
	if _, _, ok := h.server.Snapshots.Snapshot(); !ok {
		return healthv1.HealthCheckResponse_NOT_SERVING
	}
	return healthv1.HealthCheckResponse_SERVING
}
