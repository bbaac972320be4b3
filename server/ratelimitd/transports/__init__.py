"""What carries calls to the servicers: h2corn through gRPC-over-ASGI, and grpcio."""
