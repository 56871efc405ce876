package extauthz_test

import (
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
)

// frame is a message that is encoded already.
type frame []byte

// forceFrames sends frames as they are.
func forceFrames() grpc.CallOption { return grpc.ForceCodecV2(frames{}) }

type frames struct{}

var _ encoding.CodecV2 = frames{}

// Marshal implements encoding.CodecV2.
func (frames) Marshal(v any) (mem.BufferSlice, error) {
	f, ok := v.(*frame)
	if !ok {
		return nil, fmt.Errorf("encode a %T", v)
	}
	return mem.BufferSlice{mem.SliceBuffer(*f)}, nil
}

// Unmarshal implements encoding.CodecV2.
func (frames) Unmarshal(data mem.BufferSlice, v any) error {
	m, ok := v.(proto.Message)
	if !ok {
		return fmt.Errorf("decode a %T", v)
	}
	return proto.Unmarshal(data.Materialize(), m)
}

// Name implements encoding.CodecV2.
func (frames) Name() string { return "proto" }
