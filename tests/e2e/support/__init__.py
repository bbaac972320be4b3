"""What the end-to-end tests share: fakes at Envoy's two seams, a client that sends any bytes."""
